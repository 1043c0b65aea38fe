import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";
import type { UpdateRow } from "@scriptorium/collab";
import { openSqlite } from "../../src/storage/adapters/sqlite/open.ts";
import { SILENT, openTemporary, removeDir, temporaryDir } from "./temporary-store.ts";

/** A WAL is a header and then frames: a page each, with a header that holds a checksum over all before it. */
const WAL_HEADER = 32;
const FRAME = 24 + 4096;
const DATABASE = "scriptorium.db";

function row(document: string, seq: number): UpdateRow {
  const update = new TextEncoder().encode(`${document}/${seq}/typed text`);
  return { document, epoch: 1, node: "node", seq, at: 1_700_000_000_000 + seq, by: "alice", update };
}

/** The files of a store that was cut from its power: as they were on the disk, with everything that was synced. */
interface Cut {
  readonly dir: string;
  readonly wal: Buffer;
  /** Length of the WAL before the last group was committed. */
  readonly before: number;
  /** Rows of the groups before, and of the last one. */
  readonly rows: number;
  readonly lastRows: number;
}

async function cutAfterGroups(dir: string): Promise<Cut> {
  const { dir: live, store, close } = await openTemporary();
  let rows = 0;
  for (let group = 0; group < 12; group += 1) {
    const batch = ["a", "b", "c"].map((document) => row(document, group + 1));
    await store.documents.appendRows(batch);
    await store.streams.append("heads", { at: group + 1, entry: { group } });
    rows += batch.length;
  }
  const wal = join(live, `${DATABASE}-wal`);
  const lengthBefore = statSync(wal).size;
  // One call is one transaction.
  const last = Array.from({ length: 40 }, (_, i) => row("a", 100 + i));
  await store.documents.appendRows(last);
  copyFileSync(join(live, DATABASE), join(dir, DATABASE));
  copyFileSync(wal, join(dir, `${DATABASE}-wal`));
  const bytes = readFileSync(wal);
  await close();
  return { dir, wal: bytes, before: lengthBefore, rows, lastRows: last.length };
}

/** Opens the files as they are, recovers, checks, and leaves them as they were: a read-only connection writes neither. */
function inspect(dir: string): { rows: number; entries: number } {
  // Without the shared-memory index, as after a power cut: it is rebuilt from the WAL.
  rmSync(join(dir, `${DATABASE}-shm`), { force: true });
  const db = new DatabaseSync(join(dir, DATABASE), { readOnly: true });
  try {
    assert.equal(db.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok");
    // The layout is in the WAL, too: cut before it, there are no tables, and that is a prefix as well.
    if (db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'row'").get() === undefined)
      return { rows: 0, entries: 0 };
    return {
      rows: Number(db.prepare("SELECT count(*) AS n FROM row").get()?.["n"]),
      entries: Number(db.prepare("SELECT count(*) AS n FROM entry").get()?.["n"]),
    };
  } finally {
    db.close();
  }
}

describe("power cut", () => {
  let dir: string;
  let cut: Cut;
  before(async () => {
    dir = await temporaryDir();
    cut = await cutAfterGroups(dir);
  });
  after(() => removeDir(dir));

  it("leaves the last group whole or absent and all before it, wherever the WAL ends", () => {
    const { wal, rows, lastRows } = cut;
    assert.equal((wal.length - WAL_HEADER) % FRAME, 0);
    assert.ok(wal.length > cut.before, "the last group is in the WAL");
    assert.deepEqual(inspect(dir), { rows: rows + lastRows, entries: 12 }, "uncut, the last group is there");
    const fd = openSync(join(dir, `${DATABASE}-wal`), "r+");
    for (let length = wal.length - 1; length >= cut.before; length -= 1) {
      ftruncateSync(fd, length);
      assert.deepEqual(inspect(dir), { rows, entries: 12 }, `WAL cut at byte ${length} of ${wal.length}`);
    }
    closeSync(fd);
  });

  it("leaves a prefix of the groups when older frames are gone as well", () => {
    const { wal, rows } = cut;
    let most = rows;
    for (let length = cut.before; length >= WAL_HEADER; length -= FRAME) {
      writeFileSync(join(dir, `${DATABASE}-wal`), wal.subarray(0, length));
      const found = inspect(dir).rows;
      assert.ok(found <= most && found % 3 === 0, `${found} rows at ${length}`);
      most = found;
    }
  });

  it("is not misled by bytes that the disk made up at the end of the WAL", () => {
    const { wal, rows } = cut;
    for (let round = 0; round < 300; round += 1) {
      const from = randomInt(cut.before, wal.length);
      const torn = Buffer.from(wal);
      // Zeros, noise, or one flipped bit: what disks leave where a write was under way.
      if (round % 3 === 0) torn.fill(0, from);
      else if (round % 3 === 1) for (let i = from; i < torn.length; i += 1) torn[i] = randomInt(256);
      else torn[from] = (torn[from] ?? 0) ^ (1 << randomInt(8));
      writeFileSync(join(dir, `${DATABASE}-wal`), torn);
      const found = inspect(dir).rows;
      const untouched = torn.equals(wal);
      assert.equal(found, untouched ? rows + cut.lastRows : rows, `round ${round}, torn at ${from}`);
    }
  });

  it("survives a cut within a checkpoint, with any of its pages written, torn or not", () => {
    const { wal, rows, lastRows } = cut;
    const old = readFileSync(join(dir, DATABASE));
    writeFileSync(join(dir, `${DATABASE}-wal`), wal);
    const done = join(dir, "checkpointed.db");
    copyFileSync(join(dir, DATABASE), done);
    writeFileSync(`${done}-wal`, wal);
    const db = new DatabaseSync(done);
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    db.close();
    const complete = readFileSync(done);
    for (let round = 0; round < 200; round += 1) {
      const mixed = Buffer.alloc(complete.length);
      old.copy(mixed);
      for (let page = 0; page < complete.length; page += 4096) {
        const written = [0, 4096, 512 * randomInt(8)][randomInt(3)] ?? 0;
        complete.copy(mixed, page, page, page + written);
      }
      writeFileSync(join(dir, DATABASE), mixed);
      assert.deepEqual(inspect(dir), { rows: rows + lastRows, entries: 12 }, `round ${round}`);
    }
    writeFileSync(join(dir, DATABASE), old);
  });

  it("opens again after a cut and takes the lost group once more", async (t) => {
    const { wal, rows, lastRows } = cut;
    for (const length of [cut.before, cut.before + 1, wal.length - FRAME, wal.length - 1, wal.length]) {
      const place = await temporaryDir();
      copyFileSync(join(dir, DATABASE), join(place, DATABASE));
      const fd = openSync(join(place, `${DATABASE}-wal`), "w");
      writeSync(fd, wal, 0, length);
      fsyncSync(fd);
      closeSync(fd);
      const store = await openSqlite({ dir: place, log: SILENT });
      t.after(() => store.close());
      await store.documents.appendRows(Array.from({ length: lastRows }, (_, i) => row("a", 100 + i)));
      const counts = await Promise.all(
        ["a", "b", "c"].map((document) => store.documents.readRows(document, 1)),
      );
      assert.equal(counts.flat().length, rows + lastRows);
      await store.close();
      await removeDir(place);
    }
  });
});
