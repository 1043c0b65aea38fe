import { existsSync, mkdirSync } from "node:fs";
import { mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import type { Log } from "@scriptorium/collab";
import type { Holding, Target } from "../../archive.ts";
import { openSqliteArchive } from "./archive.ts";
import { lockDirectory } from "./lock.ts";
import { refuseNewer } from "./migrations.ts";
import { refuseMoved, syncDirectory } from "./moved.ts";
import { openSqlite } from "./open.ts";
import { DATABASE_FILE } from "./writer.ts";

export interface HoldingOptions {
  readonly dir: string;
  readonly log: Log;
}

/** Begins the name of a directory in which an installation is being restored. */
const RESTORING = "restoring-";
/** Pages that the copy takes before others may write to the copied file again; more than there can be: all at once. */
const ALL_PAGES = 2 ** 31 - 1;

/**
 * An installation whose server is stopped: the lock says so, and keeps any from starting meanwhile. Also one that was moved
 * away: its move may not have been finished.
 */
export async function openSqliteHolding({ dir, log }: HoldingOptions): Promise<Holding> {
  demandInstallation(dir);
  const store = await openSqlite({ dir, log, moved: "allowed" });
  const archive = openSqliteArchive(dir, store);
  return {
    store,
    archive,
    async close() {
      archive.close();
      await store.close();
    },
  };
}

/**
 * An installation as it was at one moment while its server works on, as a copy in the directory `into`, which the caller
 * removes. A reader is not kept out by the lock. The copy is taken in one step, under one read transaction: a long one
 * would keep the server from beginning its WAL anew, so what takes long reads the copy.
 */
export async function openSqliteCopy({
  dir,
  into,
  log,
}: HoldingOptions & { readonly into: string }): Promise<Holding> {
  demandInstallation(dir);
  refuseMoved(dir);
  const db = new DatabaseSync(join(dir, DATABASE_FILE), { readOnly: true, timeout: 30_000 });
  try {
    refuseNewer(db);
    await backup(db, join(into, DATABASE_FILE), { rate: ALL_PAGES });
  } finally {
    db.close();
  }
  return openSqliteHolding({ dir: into, log });
}

function demandInstallation(dir: string): void {
  if (!existsSync(join(dir, DATABASE_FILE))) throw new Error(`there is no installation in ${dir}`);
}

/**
 * A directory without an installation. It is filled beside the place where a server would look, under the lock that a
 * server would take, and put there by one rename: until then there is none, whatever happens.
 */
export async function openSqliteTarget({ dir, log }: HoldingOptions): Promise<Target> {
  demandNone(dir);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const lock = lockDirectory(dir);
  try {
    demandNone(dir);
    const left = (await readdir(dir)).filter((name) => name.startsWith(RESTORING));
    for (const name of left) await rm(join(dir, name), { recursive: true });
    const inner = await mkdtemp(join(dir, RESTORING));
    const holding = await emptyHolding(inner, log);
    let closed: Promise<void> | undefined;
    const closeInner = (): Promise<void> => (closed ??= holding.close());
    const close = async (): Promise<void> => {
      await closeInner();
      await rm(inner, { recursive: true, force: true });
      lock.release();
    };
    return {
      ...holding,
      close,
      async finish() {
        // With its WAL emptied the one file is all there is.
        await closeInner();
        await rename(join(inner, DATABASE_FILE), join(dir, DATABASE_FILE));
        syncDirectory(dir);
        await close();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function emptyHolding(dir: string, log: Log): Promise<Holding> {
  await (await openSqlite({ dir, log })).close();
  return openSqliteHolding({ dir, log });
}

function demandNone(dir: string): void {
  // A WAL that was left behind would be replayed over whatever database is put beside it.
  for (const left of ["", "-wal", "-shm", "-journal"])
    if (existsSync(join(dir, `${DATABASE_FILE}${left}`)))
      throw new Error(
        `${dir} holds an installation already (${DATABASE_FILE}${left}); name an empty directory`,
      );
  // A server would refuse what is put beside that note.
  refuseMoved(dir);
}
