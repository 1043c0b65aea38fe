/**
 * Compares each room's SPEC.md with the tests. A rule is a line `- **DL3** sentence`; a test that shows it has a name that
 * begins with `[DL3]` (several: `[DL3] [DL4] ...`) and stands in the room's or in the server's tests. Fails when a rule
 * has no such test, when a test cites an unknown rule, and when an id is defined twice. Skipped tests do not count.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import path from "node:path";

const ROOT = path.dirname(import.meta.dirname);
const ROOMS = ["collab", "terminal"];
const SERVER = "server";
const RULE = /^- \*\*(?<id>[A-Z]{2}\d+)\*\* \S/gm;
/** A test or a suite that runs, up to the ids that its name begins with. */
const CITING_TEST = /\b(?:it|test|describe|suite)(?:\.only)?\(\s*["'`](?<ids>(?:\[[A-Z]{2}\d+\]\s*)+)/g;
const ID = /[A-Z]{2}\d+/g;

interface Mention {
  id: string;
  file: string;
}

function readRules(room: string): Mention[] {
  const file = path.join(room, "SPEC.md");
  if (!existsSync(path.join(ROOT, file))) return [];
  const text = readFileSync(path.join(ROOT, file), "utf8");
  return Array.from(text.matchAll(RULE), (match) => ({ id: match.groups?.["id"] ?? "", file }));
}

function readCitations(workspace: string): Mention[] {
  const tests = ["test/**/*.ts", "src/**/testing.ts", "src/**/testing/**/*.ts"];
  const files = globSync(
    tests.map((pattern) => `${workspace}/${pattern}`),
    { cwd: ROOT },
  );
  return files.flatMap((file) => {
    const text = readFileSync(path.join(ROOT, file), "utf8");
    const cited = Array.from(text.matchAll(CITING_TEST), (match) => match.groups?.["ids"] ?? "");
    return cited.flatMap((ids) => Array.from(ids.matchAll(ID), ([id]) => ({ id, file })));
  });
}

function complaints(): string[] {
  const found: string[] = [];
  const rules = new Map(ROOMS.map((room) => [room, readRules(room)]));
  const seen = new Map<string, string>();
  for (const { id, file } of [...rules.values()].flat()) {
    const earlier = seen.get(id);
    if (earlier !== undefined) found.push(`${file}: ${id} is defined twice (before: ${earlier})`);
    seen.set(id, file);
  }
  const shownByServer = readCitations(SERVER);
  for (const { id, file } of shownByServer)
    if (!seen.has(id)) found.push(`${file}: cites ${id}, which no SPEC.md defines`);
  for (const [room, own] of rules) {
    const shownByRoom = readCitations(room);
    const known = new Set(own.map(({ id }) => id));
    const shown = new Set([...shownByRoom, ...shownByServer].map(({ id }) => id));
    for (const { id, file } of own) if (!shown.has(id)) found.push(`${file}: no test shows ${id}`);
    for (const { id, file } of shownByRoom) {
      if (!known.has(id)) found.push(`${file}: cites ${id}, which ${room}/SPEC.md does not define`);
    }
  }
  return [...new Set(found)];
}

const found = complaints();
for (const line of found) console.error(line);
if (found.length > 0) process.exitCode = 1;
else console.log("Every rule has a test, and every cited rule exists.");
