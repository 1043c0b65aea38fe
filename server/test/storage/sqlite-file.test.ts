import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { UpdateRow } from "@scriptorium/collab";
import { Failure } from "@scriptorium/shared";
import { migrate } from "../../src/storage/adapters/sqlite/migrations.ts";
import type { ThreadBoot, WriteCalls } from "../../src/storage/adapters/sqlite/calls.ts";
import { createLane } from "../../src/storage/adapters/sqlite/lane.ts";
import { SQLITE_LIMITS, openSqlite } from "../../src/storage/adapters/sqlite/open.ts";
import { packRows } from "../../src/storage/adapters/sqlite/row-batch.ts";
import { SILENT, openTemporary, removeDir, temporaryDir } from "./temporary-store.ts";

const ADAPTER = new URL("../../src/storage/adapters/sqlite/", import.meta.url);
const HOLD_STORE = fileURLToPath(new URL("./fixtures/hold-store.ts", import.meta.url));

function row(seq: number, bytes = 20): UpdateRow {
  const at = 1_700_000_000_000 + seq;
  return {
    document: "doc",
    epoch: 1,
    node: "node",
    seq,
    at,
    by: "alice",
    update: new Uint8Array(bytes).fill(seq),
  };
}

/** A process that tries to open the directory's store; `said` is its one line. */
async function holdStore(dir: string) {
  const child = spawn(process.execPath, [HOLD_STORE, dir], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const [said] = await once(child.stdout.setEncoding("utf8"), "data");
  return { child, exited, said: String(said) };
}

describe("SQLite file", () => {
  let dir: string;
  before(async () => {
    dir = await temporaryDir();
  });
  after(() => removeDir(dir));

  it("keeps everything across a close, which leaves no WAL behind", async (t) => {
    const place = join(dir, "reopened", "deep");
    const first = await openSqlite({ dir: place, log: SILENT });
    t.after(() => first.close());
    await first.documents.appendRows([row(1)]);
    await first.streams.append("s", { at: 1, entry: { n: 1 } });
    await first.open({ name: "papers", unique: [], indexes: [] }).insert({ id: "p" });
    const unfinished = first.documents.appendRows([row(2)]);
    await first.close();
    await unfinished;
    assert.deepEqual((await readdir(place)).toSorted(), ["lock.db", "scriptorium.db"]);
    await assert.rejects(first.documents.appendRows([row(3)]), Failure);

    const second = await openSqlite({ dir: place, log: SILENT });
    t.after(() => second.close());
    assert.deepEqual(await second.documents.readRows("doc", 1), [row(1), row(2)]);
    assert.deepEqual(await second.streams.head("s"), { at: 1, entry: { n: 1 } });
    assert.deepEqual(await second.open({ name: "papers", unique: [], indexes: [] }).get("p"), { id: "p" });
  });

  it("takes at most 45 bytes for the row of a 20-byte update", async (t) => {
    const { dir: place, store, close } = await openTemporary();
    t.after(close);
    const rows = Array.from({ length: 5_000 }, (_, i) => row(i + 1));
    for (let i = 0; i < rows.length; i += 250) await store.documents.appendRows(rows.slice(i, i + 250));
    assert.ok(store.stats().storedBytes / rows.length < 30, "counts keys and values as stored");
    await store.documents.removeRows(rows.slice(0, 1));
    await store.close();
    const db = new DatabaseSync(join(place, "scriptorium.db"), { readOnly: true });
    const size = db.prepare("SELECT sum(pgsize) AS bytes FROM dbstat WHERE name = 'row'").get();
    db.close();
    assert.ok(
      Number(size?.["bytes"]) / rows.length < 45,
      `${Number(size?.["bytes"]) / rows.length} bytes a row`,
    );
  });

  it("refuses a file from a newer version and leaves it as it was", async () => {
    const place = await temporaryDir();
    const file = join(place, "scriptorium.db");
    const db = new DatabaseSync(file);
    db.exec("CREATE TABLE future (x); INSERT INTO future VALUES (1); PRAGMA user_version = 99");
    db.close();
    const bytes = await readFile(file);
    await assert.rejects(openSqlite({ dir: place, log: SILENT }), /newer version of Scriptorium \(layout 99/);
    assert.deepEqual(await readFile(file), bytes);
    assert.deepEqual((await readdir(place)).toSorted(), ["lock.db", "scriptorium.db"]);
    await removeDir(place);
  });

  it("refuses what a newer version that was killed has left in its WAL, and leaves file and WAL as they were", async (t) => {
    const [killed, place] = [await temporaryDir(), await temporaryDir()];
    t.after(() => Promise.all([killed, place].map(removeDir)));
    const files = ["scriptorium.db", "scriptorium.db-wal"];
    // Before the kill the version was raised, which only the WAL knows.
    await (await openSqlite({ dir: killed, log: SILENT })).close();
    const db = new DatabaseSync(join(killed, "scriptorium.db"));
    t.after(() => db.close());
    db.exec("CREATE TABLE future (x); INSERT INTO future VALUES (1); PRAGMA user_version = 99");
    for (const file of files) await copyFile(join(killed, file), join(place, file));
    const bytes = () => Promise.all(files.map((file) => readFile(join(place, file))));
    const original = await bytes();
    await assert.rejects(openSqlite({ dir: place, log: SILENT }), /\(layout 99, this one knows 1\)/);
    assert.deepEqual(await bytes(), original);
    const left = (await readdir(place)).filter((file) => !files.includes(file));
    assert.deepEqual(
      left.toSorted(),
      ["lock.db", "scriptorium.db-shm"],
      "and a lock and an index, without data",
    );
  });

  it("migrates step by step, all or nothing, and again does nothing", () => {
    const db = new DatabaseSync(":memory:");
    const steps = ["CREATE TABLE a (x); INSERT INTO a VALUES (1)", "ALTER TABLE a ADD COLUMN y DEFAULT 7"];
    migrate(db, steps.slice(0, 1));
    assert.throws(() => migrate(db, [...steps, "CREATE TABLE a (z)"]), /already exists/);
    assert.deepEqual(Object.keys(db.prepare("SELECT * FROM a").get() ?? {}), ["x"]);
    migrate(db, steps);
    migrate(db, steps);
    assert.deepEqual({ ...db.prepare("SELECT * FROM a").get() }, { x: 1, y: 7 });
    assert.throws(() => migrate(db, steps.slice(0, 1)), /newer version/);
  });

  it("refuses a directory that this process has open already", async (t) => {
    const { dir: place, store, close } = await openTemporary();
    t.after(close);
    await assert.rejects(openSqlite({ dir: place, log: SILENT }), /another process has the data directory/);
    await store.documents.appendRows([row(1)]);
  });

  it("lets one of several processes that start at once open it, and is not blocked by one that was killed", async (t) => {
    const place = join(dir, "raced");
    const held = await Promise.all([holdStore(place), holdStore(place), holdStore(place)]);
    t.after(() => held.map(({ child }) => child.kill("SIGKILL")));
    const winner = held.find(({ said }) => said === "open\n");
    const refusals = held.filter(({ said }) =>
      said.includes("refused: another process has the data directory"),
    );
    assert.equal(refusals.length, 2, held.map(({ said }) => said).join());
    winner?.child.kill("SIGKILL");
    await Promise.all(held.map(({ exited }) => exited));
    const next = await holdStore(place);
    assert.equal(next.said, "open\n");
    next.child.stdin.end();
    const [code] = await next.exited;
    assert.equal(code, 0);
  });

  it("rejects what a full disk cannot take, loses nothing else, and recovers without a restart", async (t) => {
    const { dir: place, store, close } = await openTemporary({ databaseBytes: 400_000 });
    t.after(close);
    const kept: UpdateRow[] = [];
    const refused: UpdateRow[] = [];
    for (let seq = 1; refused.length < 3; seq += 1) {
      const next = row(seq, 5_000);
      const [outcome] = await Promise.allSettled([store.documents.appendRows([next])]);
      if (outcome.status === "fulfilled") kept.push(next);
      else {
        assert.ok(
          outcome.reason instanceof Failure && outcome.reason.code === "try_later",
          String(outcome.reason),
        );
        refused.push(next);
      }
    }
    assert.deepEqual(await store.documents.readRows("doc", 1), kept);
    await store.documents.removeRows(kept.slice(0, 10));
    await store.documents.appendRows(refused);
    const expected = [...kept.slice(10), ...refused];
    assert.deepEqual(await store.documents.readRows("doc", 1), expected);
    await store.close();
    const again = await openSqlite({ dir: place, log: SILENT });
    t.after(() => again.close());
    assert.deepEqual(await again.documents.readRows("doc", 1), expected);
  });

  it("starts its writer again when that has died, with the lock and with all that was committed", async (t) => {
    const place = join(dir, "restarted");
    const threads: Worker[] = [];
    const start = (): Worker => {
      const workerData: ThreadBoot = { role: "writer", dir: place, databaseBytes: 2 ** 40 };
      const thread = new Worker(new URL("thread.ts", ADAPTER), { workerData });
      threads.push(thread);
      return thread;
    };
    const writer = createLane<WriteCalls>({ name: "writer", start, log: SILENT, limits: SQLITE_LIMITS });
    await writer.start();
    t.after(() => writer.stop());
    const append = (seq: number) => writer.call("appendRows", { rows: packRows([row(seq)]) });
    await append(1);
    const unanswered = Promise.allSettled([append(2), append(3)]);
    await threads[0]?.terminate();
    const outcomes = await unanswered;
    await append(4);
    assert.equal(threads.length, 2);
    await writer.stop();

    const store = await openSqlite({ dir: place, log: SILENT });
    t.after(() => store.close());
    const seqs = (await store.documents.readRows("doc", 1)).map(({ seq }) => seq);
    const answered = [1, ...[2, 3].filter((_, i) => outcomes[i]?.status === "fulfilled"), 4];
    assert.deepEqual(
      answered.filter((seq) => !seqs.includes(seq)),
      [],
    );
  });

  it("keeps the WAL short under a stream of commits", async (t) => {
    const { dir: place, store, close } = await openTemporary();
    t.after(close);
    // Each row is larger than a page, so that more than 6,000 pages go through the WAL.
    const update = new Uint8Array(20_000);
    for (let seq = 1; seq <= 1_200; seq += 4) {
      const batch = [0, 1, 2, 3].map((i) => ({ ...row(seq + i), update }));
      await store.documents.appendRows(batch);
      await store.documents.removeRows(batch);
    }
    const { size } = await stat(join(place, "scriptorium.db-wal"));
    assert.ok(size < 16 * 1024 * 1024, `the WAL has ${size} bytes`);
  });
});
