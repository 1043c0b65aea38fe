import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { setTimeout as delay } from "node:timers/promises";
import type { UpdateRow } from "@scriptorium/collab";
import { Failure, newId } from "@scriptorium/shared";
import { openMongo } from "../../src/storage/adapters/mongo/open.ts";
import type { Store } from "../../src/storage/store.ts";
import { NO_MONGO_COMMAND, startMongo, type MongoServer } from "../support/mongo.ts";
import { SILENT } from "./temporary-store.ts";

const ROUNDS = 4;
const DOCUMENTS = ["doc-a", "doc-b", "doc-c"];
const RETRY_MS = 20;

/** Tries until it is done, as every caller of the store does; fails the test on anything but `try_later`. */
async function insist<T>(work: () => Promise<T>, onFailure: () => void = () => undefined): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      assert.ok(error instanceof Failure && error.code === "try_later", String(error));
      onFailure();
      await delay(RETRY_MS);
    }
  }
}

interface Crowd {
  readonly acknowledged: { readonly rows: UpdateRow[]; readonly ops: Map<number, string> };
  readonly failures: number;
  stop(): Promise<void>;
}

/** Writers of rows and of one contended stream that go on through everything. */
function startWriting(store: Store): Crowd {
  const acknowledged = { rows: [] as UpdateRow[], ops: new Map<number, string>() };
  const ending = new AbortController();
  let failures = 0;
  const failed = () => void (failures += 1);

  const rows = async (document: string): Promise<void> => {
    for (let seq = 1; !ending.signal.aborted; seq += 3) {
      const batch = [0, 1, 2].map((i) => ({
        document,
        epoch: 1,
        node: "node",
        seq: seq + i,
        at: 1_700_000_000_000,
        by: "ada",
        update: new TextEncoder().encode(`${document}/${seq + i}`),
      }));
      await insist(() => store.documents.appendRows(batch), failed);
      acknowledged.rows.push(...batch);
    }
  };
  const entries = async (writer: number): Promise<void> => {
    for (let n = 1; !ending.signal.aborted; n += 1) {
      const op = `${writer}/${n}`;
      for (let outcome = "taken"; outcome === "taken";) {
        const at = ((await insist(() => store.streams.head("contended"), failed))?.at ?? 0) + 1;
        outcome = await insist(
          () => store.streams.append("contended", { at, entry: { writer }, op }),
          failed,
        );
        if (outcome === "ok") acknowledged.ops.set(at, op);
      }
    }
  };
  const running = Promise.all([...DOCUMENTS.map(rows), entries(1), entries(2)]);
  return {
    acknowledged,
    get failures() {
      return failures;
    },
    async stop() {
      ending.abort();
      await running;
    },
  };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await delay(5);
  }
}

async function assertKept(store: Store, { acknowledged }: Crowd): Promise<void> {
  for (const document of DOCUMENTS) {
    const found = await store.documents.readRows(document, 1);
    const expected = acknowledged.rows.filter((row) => row.document === document);
    assert.deepEqual(found, expected, `${document}: every row once`);
  }
  const entries = await store.streams.read("contended", 1, 1_000_000);
  assert.deepEqual(
    entries.map(({ at }) => at),
    entries.map((_, i) => i + 1),
    "no position is missing",
  );
  const ops = entries.map(({ op }) => op);
  assert.equal(new Set(ops).size, ops.length, "no op is there twice");
  for (const [at, op] of acknowledged.ops) assert.equal(ops[at - 1], op);
}

async function withServer(work: (server: MongoServer, store: Store) => Promise<void>): Promise<void> {
  const server = await startMongo();
  try {
    const store = await openMongo({ url: `${server.url}${newId()}`, log: SILENT });
    try {
      await work(server, store);
    } finally {
      await store.close();
    }
  } finally {
    await server.stop();
  }
}

describe("a MongoDB server that dies", { skip: NO_MONGO_COMMAND }, () => {
  it(`loses no acknowledged row and doubles none, ${ROUNDS} times kill -9 under writes`, async (t) => {
    await withServer(async (server, store) => {
      const crowd = startWriting(store);
      for (let round = 0; round < ROUNDS; round += 1) {
        const { length } = crowd.acknowledged.rows;
        await until(() => crowd.acknowledged.rows.length > length + 90, "rows are acknowledged");
        const before = crowd.failures;
        await server.kill();
        await until(() => crowd.failures > before, "a write fails while there is no server");
        await server.restart();
      }
      const { length } = crowd.acknowledged.rows;
      await until(() => crowd.acknowledged.rows.length > length + 90, "it goes on by itself");
      await crowd.stop();
      await assertKept(store, crowd);
      t.diagnostic(
        `${crowd.acknowledged.rows.length} rows, ${crowd.acknowledged.ops.size} ops, ${crowd.failures} retries`,
      );
    });
  });

  it("says try_later within seconds, also when it is there and silent, and is used again when it is back", async () => {
    await withServer(async (server, store) => {
      await store.streams.append("s", { at: 1, entry: {} });
      const papers = store.open<{ id: string }>({ name: "papers", unique: [], indexes: [] });
      await papers.insert({ id: "1" });
      for (const [stop, start] of [
        [() => server.kill(), () => server.restart()],
        [async () => server.pause(), async () => server.resume()],
      ] as const) {
        await stop();
        const startedAt = performance.now();
        const outcomes = await Promise.allSettled([
          store.streams.head("s"),
          store.streams.append("s", { at: 2, entry: {} }),
          store.documents.readRows("doc", 1),
          papers.insert({ id: "2" }),
        ]);
        const took = performance.now() - startedAt;
        await start();
        assert.ok(took < 20_000, `${took} ms`);
        for (const outcome of outcomes) {
          assert.ok(outcome.status === "rejected", outcome.status);
          assert.ok(outcome.reason instanceof Failure, inspect(outcome.reason));
          assert.equal(outcome.reason.code, "try_later");
        }
        assert.equal((await insist(() => store.streams.head("s")))?.entry !== undefined, true);
      }
    });
  });
});
