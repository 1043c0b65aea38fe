import { Worker } from "node:worker_threads";
import type { Log } from "@scriptorium/collab";
import type { Store } from "../../store.ts";
import type { ReadCalls, ThreadBoot, WriteCalls } from "./calls.ts";
import { sqliteCollections } from "./collections.ts";
import { sqliteDocuments } from "./documents.ts";
import { createLane } from "./lane.ts";
import type { LaneLimits } from "./lane.ts";
import { refuseMoved } from "./moved.ts";
import { sqliteStreams } from "./streams.ts";

/** Every bound of the SQLite store. */
export interface SqliteLimits extends LaneLimits {
  /** Size that the database file may reach; growing beyond it fails as a full disk does. */
  readonly databaseBytes: number;
}

export const SQLITE_LIMITS: SqliteLimits = {
  queuedCalls: 50_000,
  // Twice what the collaboration room holds uncommitted before it turns documents read-only.
  queuedBytes: 128 * 1024 * 1024,
  restartMs: 100,
  restartMaxMs: 5_000,
  stopMs: 30_000,
  databaseBytes: 2 ** 42,
};

export interface SqliteOptions {
  /** Made when missing. One server at a time: a second one is refused. */
  readonly dir: string;
  readonly log: Log;
  readonly limits?: Partial<SqliteLimits>;
  readonly now?: () => number;
  /** Opens a directory whose installation was moved away and must not be served any more. */
  readonly moved?: "allowed";
}

/**
 * The embedded store: one thread that writes, one that reads, and none of SQLite's work on the event loop. Rejects when
 * another process has the directory open or when its data is from a newer version; the data is untouched then.
 */
export async function openSqlite(options: SqliteOptions): Promise<Store> {
  const { dir, log, now = Date.now } = options;
  const limits = { ...SQLITE_LIMITS, ...options.limits };
  if (options.moved !== "allowed") refuseMoved(dir);
  const boot = (role: ThreadBoot["role"]) => (): Worker => {
    const workerData: ThreadBoot = { role, dir, databaseBytes: limits.databaseBytes };
    return new Worker(new URL("./thread.ts", import.meta.url), { name: `store ${role}`, workerData });
  };
  const writer = createLane<WriteCalls>({ name: "writer", start: boot("writer"), log, limits });
  const reader = createLane<ReadCalls>({ name: "reader", start: boot("reader"), log, limits });
  // The writer first: it makes the file that the reader opens.
  await writer.start();
  try {
    await reader.start();
  } catch (error) {
    await writer.stop();
    throw error;
  }

  const streams = sqliteStreams(writer, reader);
  return {
    streams,
    documents: sqliteDocuments({ heads: streams, writer, reader, now }),
    open: sqliteCollections(writer, reader),
    stats() {
      const { commits, calls, storedBytes, queuedCalls, queuedBytes } = writer.stats();
      return { commits, writes: calls, storedBytes, queuedWrites: queuedCalls, queuedBytes };
    },
    async close() {
      // The reader first: with it gone the writer can empty the WAL.
      await reader.stop();
      await writer.stop();
    },
  };
}
