import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The given directory, which stays, or a temporary one that `remove` removes. */
export async function dataDir(
  given: string | undefined,
): Promise<{ path: string; remove: () => Promise<void> }> {
  if (given !== undefined) return { path: given, remove: async () => undefined };
  const path = await mkdtemp(join(tmpdir(), "scriptorium-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
