import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { FromThread, Handlers, Kind, Request, ThreadBoot, WriteCalls } from "./calls.ts";
import { collectionWrites } from "./collection-writes.ts";
import { documentWrites } from "./document-writes.ts";
import { createGroupCommit } from "./group-commit.ts";
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
/** Commits between two looks at the length of the WAL. */
const CHECKPOINT_EVERY = 200;

export interface Writer {
  run(requests: readonly Request<WriteCalls>[]): FromThread;
  /** Copies the WAL into the database when it has grown. After the answers, so that no acknowledgement waits for it. */
  checkpoint(): void;
  /** Ends with an empty WAL. */
  close(): void;
}

/** Takes the directory's lock, brings the file to the newest layout and makes every commit durable. */
export function openWriter({ dir, databaseBytes }: Omit<ThreadBoot, "role">): Writer {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const lock = lockDirectory(dir);
  try {
    const db = openDatabase(join(dir, DATABASE_FILE), databaseBytes);
    return createWriter(db, lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

function openDatabase(file: string, databaseBytes: number): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: 5_000, enableForeignKeyConstraints: false });
  try {
    refuseNewer(db);
    // Checkpoints are ours to time: the built-in one would run inside COMMIT, before the answer.
    db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
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
  let checkedAt = 0;

  return {
    run(requests) {
      const answers = group.run(requests);
      return { answers, commits: group.commits, storedBytes: meter.bytes };
    },

    checkpoint() {
      if (group.commits - checkedAt < CHECKPOINT_EVERY) return;
      checkedAt = group.commits;
      const state = db.prepare("PRAGMA wal_checkpoint(NOOP)").get();
      const pending = Number(state?.["log"]) - Number(state?.["checkpointed"]);
      if (pending < CHECKPOINT_FRAMES) return;
      db.exec(`PRAGMA wal_checkpoint(${pending < RESTART_FRAMES ? "PASSIVE" : "RESTART"})`);
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
