import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { Store } from "../../src/storage/store.ts";
import { openSqlite } from "../../src/storage/adapters/sqlite/open.ts";
import { SILENT, removeDir, temporaryDir } from "./temporary-store.ts";

const APPENDER = fileURLToPath(new URL("./fixtures/appender.ts", import.meta.url));
const ROUNDS = 20;
/** The kill comes after this many acknowledgements at most, wherever the process happens to be then. */
const ACKNOWLEDGEMENTS = 800;

type Acknowledgement =
  | { readonly kind: "row"; readonly document: string; readonly seq: number }
  | { readonly kind: "entry"; readonly stream: string; readonly at: number; readonly outcome: string }
  | {
      readonly kind: "part";
      readonly document: string;
      readonly id: string;
      readonly bytes: number;
      readonly fill: number;
    }
  | { readonly kind: "paper"; readonly id: string };

/** Lets the appender write until a random acknowledgement, kills it, and gives what it had acknowledged by then. */
async function appendAndKill(dir: string, round: number): Promise<Acknowledgement[]> {
  const child = spawn(process.execPath, [APPENDER, dir, String(round)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const acknowledged: Acknowledgement[] = [];
  const until = randomInt(1, ACKNOWLEDGEMENTS);
  for await (const line of createInterface({ input: child.stdout })) {
    // A line that the kill has cut is no acknowledgement.
    if (line.endsWith("}")) acknowledged.push(JSON.parse(line));
    if (acknowledged.length === until) child.kill("SIGKILL");
  }
  const [, signal] = await exited;
  assert.equal(signal, "SIGKILL");
  return acknowledged;
}

async function checkRows(
  store: Store,
  round: number,
  acknowledged: readonly Acknowledgement[],
): Promise<number> {
  let checked = 0;
  for (const document of ["doc-a", "doc-b", "doc-c"]) {
    const rows = (await store.documents.readRows(document, 1)).filter((row) => row.node === `node-${round}`);
    const seqs = rows.map((row) => row.seq);
    assert.deepEqual(
      seqs,
      rows.map((_, i) => i + 1),
      `rows of ${document} come once each and without a gap`,
    );
    for (const row of rows) {
      assert.equal(new TextDecoder().decode(row.update), `${document}/${round}/${row.seq}`);
    }
    const last = acknowledged.reduce(
      (most, ack) => (ack.kind === "row" && ack.document === document ? Math.max(most, ack.seq) : most),
      0,
    );
    assert.ok(seqs.length >= last, `${document}: ${last} acknowledged, ${seqs.length} there`);
    // What a client does that saw no acknowledgement: the same rows once more.
    await store.documents.appendRows(rows);
    assert.equal(
      (await store.documents.readRows(document, 1)).filter((row) => row.node === `node-${round}`).length,
      rows.length,
    );
    checked += last;
  }
  return checked;
}

async function checkRest(store: Store, acknowledged: readonly Acknowledgement[]): Promise<void> {
  const entries = await store.streams.read("stream-a", 1, 1_000_000);
  assert.deepEqual(
    entries.map((entry) => entry.at),
    entries.map((_, i) => i + 1),
  );
  const papers = store.open<{ id: string; slug?: string }>({
    name: "papers",
    unique: [["slug"]],
    indexes: [],
  });
  for (const ack of acknowledged) {
    if (ack.kind === "entry" && ack.outcome === "ok")
      assert.deepEqual(entries[ack.at - 1]?.op, `op-${ack.at}`);
    if (ack.kind === "paper") assert.deepEqual(await papers.get(ack.id), { id: ack.id, slug: ack.id });
    if (ack.kind === "part") {
      const body = await store.documents.getPart(ack.document, ack.id);
      assert.ok(body?.length === ack.bytes && body.every((byte) => byte === ack.fill), `part ${ack.id}`);
    }
  }
}

describe("kill -9", () => {
  it(`loses nothing that was acknowledged and doubles nothing, ${ROUNDS} times in a row`, async (t) => {
    const dir = await temporaryDir();
    t.after(() => removeDir(dir));
    let rows = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const acknowledged = await appendAndKill(dir, round);
      const store = await openSqlite({ dir, log: SILENT });
      try {
        rows += await checkRows(store, round, acknowledged);
        await checkRest(store, acknowledged);
      } finally {
        await store.close();
      }
    }
    t.diagnostic(`${rows} acknowledged rows, all there`);
    assert.ok(rows > ROUNDS);
  });
});
