import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { FromThread, Handlers, Kind, Request, StoreError, ThreadBoot, WriteCalls } from "./calls.ts";
import { collectionWrites } from "./collection-writes.ts";
import { documentWrites } from "./document-writes.ts";
import { createGroupCommit, toStoreError } from "./group-commit.ts";
import { lockDirectory } from "./lock.ts";
import { migrate, refuseNewer } from "./migrations.ts";
import { internNames } from "./names.ts";
import { preparedOnce } from "./statements.ts";
import type { Meter } from "./statements.ts";
import { streamWrites } from "./stream-writes.ts";

export const DATABASE_FILE = "scriptorium.db";
const PAGE_BYTES = 4096;
/** Frames of the WAL that are not yet in the database file before they are copied there; 2000 pages are 8 MB. */
const CHECKPOINT_FRAMES = 2_000;
/** Beyond this the WAL is not merely copied but begun anew, waiting for readers. */
const RESTART_FRAMES = 16_000;
/** Commits, or bytes handed to the store, between two looks at the length of the WAL. */
const LOOK_COMMITS = 200;
const LOOK_BYTES = 2 * 1024 * 1024;

export interface Writer {
  run(requests: readonly Request<WriteCalls>[]): FromThread;
  /**
   * Copies the WAL into the database when it has grown; to be called when the answers are out, so that none of them
   * waits for it. Says what stood in the way: nothing is lost by that, only the WAL grows.
   */
  checkpoint(): StoreError | undefined;
  /** Ends with an empty WAL. */
  close(): void;
}

/** Takes the directory's lock, brings the file to the newest layout and makes every commit durable. */
export function openWriter({ dir, databaseBytes }: Omit<ThreadBoot, "role">): Writer {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const lock = lockDirectory(dir);
  try {
    const db = openDatabase(join(dir, DATABASE_FILE), databaseBytes);
    syncDirectory(dir);
    syncDirectory(dirname(dir));
    return createWriter(db, lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * What a process that was killed has left in its WAL may be of a newer version, and closing a connection that can write
 * copies it into the file.
 */
function refuseNewerWal(file: string): void {
  if (!existsSync(file) || !existsSync(`${file}-wal`)) return;
  const db = new DatabaseSync(file, { readOnly: true, timeout: 5_000 });
  try {
    refuseNewer(db);
  } finally {
    db.close();
  }
}

function openDatabase(file: string, databaseBytes: number): DatabaseSync {
  refuseNewerWal(file);
  const db = new DatabaseSync(file, { timeout: 5_000, enableForeignKeyConstraints: false });
  try {
    refuseNewer(db);
    // On macOS an fsync without fullfsync may stop at the disk's cache. Checkpoints are ours to time: the built-in one would run inside COMMIT, before the answer.
    db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA fullfsync = ON;
      PRAGMA wal_autocheckpoint = 0;
      PRAGMA journal_size_limit = ${RESTART_FRAMES * PAGE_BYTES};
      PRAGMA cache_size = -16000;
      PRAGMA temp_store = MEMORY;
      PRAGMA max_page_count = ${Math.ceil(databaseBytes / PAGE_BYTES)};
    `);
    migrate(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** A file that was just made is only there after a power cut when its directory was synced, too. */
function syncDirectory(dir: string): void {
  const fd = openSync(dir, "r");
  fsyncSync(fd);
  closeSync(fd);
}

function createWriter(db: DatabaseSync, lock: { release(): void }): Writer {
  const prepare = preparedOnce(db);
  const meter: Meter = { bytes: 0 };
  const names = internNames(prepare, meter);
  const handlers: Handlers<WriteCalls> = {
    ...documentWrites(prepare, names, meter),
    ...streamWrites(prepare, meter),
    ...collectionWrites(prepare, meter),
  };
  const execute = <K extends Kind<WriteCalls>>(request: Request<WriteCalls, K>): unknown =>
    handlers[request.kind](request.input);
  const group = createGroupCommit<WriteCalls>({ db, execute, meter, undone: () => names.forget() });
  let lookedAt = { commits: 0, bytes: 0 };

  return {
    run(requests) {
      const answers = group.run(requests);
      return { answers, commits: group.commits, storedBytes: meter.bytes };
    },

    checkpoint() {
      const { commits } = group;
      const { bytes } = meter;
      if (commits - lookedAt.commits < LOOK_COMMITS && bytes - lookedAt.bytes < LOOK_BYTES) return undefined;
      lookedAt = { commits, bytes };
      try {
        checkpointGrown(db);
        return undefined;
      } catch (error) {
        return toStoreError(error);
      }
    },

    close() {
      try {
        db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      } finally {
        db.close();
        lock.release();
      }
    },
  };
}

function checkpointGrown(db: DatabaseSync): void {
  const state = db.prepare("PRAGMA wal_checkpoint(NOOP)").get();
  const pending = Number(state?.["log"]) - Number(state?.["checkpointed"]);
  if (pending < CHECKPOINT_FRAMES) return;
  db.exec(`PRAGMA wal_checkpoint(${pending < RESTART_FRAMES ? "PASSIVE" : "RESTART"})`);
}
