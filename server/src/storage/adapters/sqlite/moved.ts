import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

/** Beside the database, which stays as it was. */
const FILE = "moved.json";

const Moved = z.object({
  /** Address without user and password. */
  to: z.string(),
  at: z.string(),
});

/** An installation that was moved away must not go on here as well: what is written in both cannot be put together. */
export function refuseMoved(dir: string): void {
  const file = join(dir, FILE);
  if (!existsSync(file)) return;
  const { to, at } = Moved.parse(JSON.parse(readFileSync(file, "utf8")));
  throw new Error(
    `the installation in ${dir} was moved to ${to} at ${at}; set MONGODB_URL to that, or delete ${file} to serve what was left here`,
  );
}

/** Durable when it returns. */
export function noteMove(dir: string, moved: z.infer<typeof Moved>): void {
  writeFileSync(join(dir, FILE), `${JSON.stringify(moved)}\n`, { flush: true });
  syncDirectory(dir);
}

/** What was just made in a directory is only there after a power cut when the directory was synced, too. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, "r");
  fsyncSync(fd);
  closeSync(fd);
}
