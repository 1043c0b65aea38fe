import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { relative, join } from "node:path";
import { build } from "vite";

/** Builds web/dist, unless what it is made of is what the last build was made of. Prints one line. */

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const WEB = join(ROOT, "web");
const STAMP = join(WEB, "dist", ".inputs");
const INPUTS = [
  "web/src",
  "web/public",
  "web/index.html",
  "web/vite.config.ts",
  "web/package.json",
  "shared/src",
  "package-lock.json",
];

async function filesUnder(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOTDIR") return undefined;
    throw error;
  });
  if (entries === undefined) return [path];
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** One hash over the names and contents of every input. */
async function hashInputs(): Promise<string> {
  const hash = createHash("sha256");
  const files = (await Promise.all(INPUTS.map((input) => filesUnder(join(ROOT, input))))).flat().toSorted();
  for (const file of files) {
    const content = await readFile(file);
    hash.update(`${relative(ROOT, file)}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

async function readStamp(): Promise<string | undefined> {
  return await readFile(STAMP, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
}

const startedAt = performance.now();
const inputs = await hashInputs();
const seconds = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
if ((await readStamp()) === inputs) {
  console.log(`web/dist is up to date (${seconds()})`);
} else {
  await build({ root: WEB, configFile: join(WEB, "vite.config.ts"), logLevel: "warn" });
  await writeFile(STAMP, inputs);
  console.log(`built web/dist (${seconds()})`);
}
