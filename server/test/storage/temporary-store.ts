import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "@scriptorium/collab";
import { openSqlite } from "../../src/storage/adapters/sqlite/open.ts";
import type { SqliteLimits } from "../../src/storage/adapters/sqlite/open.ts";
import type { Store } from "../../src/storage/store.ts";

export const SILENT: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

export async function temporaryDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), "scriptorium-storage-"));
}

export async function removeDir(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true });
}

/** A SQLite store in a directory of its own; `close` leaves nothing behind. */
export async function openTemporary(limits: Partial<SqliteLimits> = {}): Promise<{
  readonly dir: string;
  readonly store: Store;
  readonly close: () => Promise<void>;
}> {
  const dir = await temporaryDir();
  const store = await openSqlite({ dir, log: SILENT, limits });
  return {
    dir,
    store,
    async close() {
      await store.close();
      await removeDir(dir);
    },
  };
}
