import { mkdtemp, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { Holding } from "../storage/archive.ts";
import { writeBackup } from "./backup-file.ts";
import type { Piece } from "./piece.ts";
import { piecesOf, Unsettled } from "./pieces.ts";
import { Refused } from "./refused.ts";
import type { Totals } from "./tally.ts";

const Installation = z.object({ id: z.string() });
/** Readings in a row in which somebody took a unique key that another had given up; each is a matter of milliseconds. */
const ATTEMPTS = 3;

export interface BackupDeps {
  /** Opens what is to be backed up; `room` is a directory for as long as that takes. */
  readonly open: (room: string) => Promise<Holding>;
  /** What kind of store it is. */
  readonly store: string;
  readonly now: () => number;
  /** Passes pieces on, and may tell how far it is. */
  readonly watch: (pieces: AsyncIterable<Piece>, doing: string) => AsyncIterable<Piece>;
}

/**
 * Writes a backup of an installation while it works. It is written beside its place and put there by one rename, so a
 * file of that name is a whole backup.
 */
export async function backUp(
  path: string,
  deps: BackupDeps,
): Promise<{ readonly totals: Totals; readonly bytes: number }> {
  if (await exists(path)) throw new Refused(`${path} is there already; name another file`);
  const room = await mkdtemp(`${path}.unfinished-`);
  try {
    const begun = new Date(deps.now()).toISOString();
    const holding = await deps.open(room);
    try {
      const written = join(room, "backup");
      const result = await writeSettled(written, { ...deps, holding, begun });
      await rename(written, path);
      await syncDirectory(dirname(path));
      return result;
    } finally {
      await holding.close();
    }
  } finally {
    await rm(room, { recursive: true });
  }
}

async function writeSettled(
  path: string,
  { holding, begun, ...deps }: BackupDeps & { readonly holding: Holding; readonly begun: string },
): ReturnType<typeof writeBackup> {
  // A node that was always alone has not asked who it is.
  const installation = Installation.safeParse((await holding.store.streams.head("installation"))?.entry);
  const header = { installation: installation.data?.id ?? "", store: deps.store, begun };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await writeBackup(path, { header, pieces: deps.watch(piecesOf(holding), "backing up") });
    } catch (error) {
      if (!(error instanceof Unsettled) || attempt === ATTEMPTS) throw error;
      await rm(path);
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** A new name lasts over a power cut when its directory does. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
