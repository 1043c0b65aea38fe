import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const SQLITE_BUSY = 5;

/**
 * Keeps a second server out of a data directory. The lock is an open exclusive transaction on an empty database, that
 * is, a lock of the kernel's on a file: it ends with its process, however that ends, so nothing is ever stale. It lives
 * in the writer's thread and goes with it.
 */
export function lockDirectory(dir: string): { release(): void } {
  const db = new DatabaseSync(join(dir, "lock.db"), { timeout: 0 });
  try {
    db.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    db.close();
    if (!isBusy(error)) throw error;
    throw new Error(
      `another process has the data directory ${dir} open; stop it, or set DATA_DIR to another one`,
      {
        cause: error,
      },
    );
  }
  return { release: () => db.close() };
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
}
