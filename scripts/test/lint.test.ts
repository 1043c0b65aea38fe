import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { z } from "zod";

const ROOT = path.resolve(import.meta.dirname, "../..");
const Report = z.object({ diagnostics: z.array(z.object({ code: z.string(), filename: z.string() })) });

const long = Array.from({ length: 401 }, (_, i) => `export const line${i} = ${i};`).join("\n");
const tall = Array.from({ length: 61 }, () => "  count += 1;").join("\n");
const branches = Array.from({ length: 12 }, (_, i) => `  if (n === ${i}) return ${i * 2};`).join("\n");

/** What each file does wrong, and the one rule that must say so. Type-aware rules first: they need tsgolint to run. */
const PLANTS = [
  [
    "typescript(no-floating-promises)",
    "shared/src/floats.ts",
    `export function floats(): void { Promise.resolve(1); }`,
  ],
  [
    "typescript(no-floating-promises)",
    "shared/test/floats.test.ts",
    `async function save(): Promise<void> {} save();`,
  ],
  [
    "typescript(no-misused-promises)",
    "shared/src/misuses.ts",
    `export const misuses = (p: Promise<boolean>) => (p ? 1 : 2);`,
  ],
  [
    "typescript(switch-exhaustiveness-check)",
    "shared/src/forgets.ts",
    `export function forgets(k: "a" | "b"): void { switch (k) { case "a": return; } }`,
  ],
  [
    "typescript(only-throw-error)",
    "shared/src/throws.ts",
    `export function throws(): never { throw "text"; }`,
  ],
  ["typescript(no-explicit-any)", "shared/src/any.ts", `export const loose: any = 1;`],
  [
    "typescript(no-non-null-assertion)",
    "shared/src/bang.ts",
    `export const bang = (x: string | null): string => x!;`,
  ],
  [
    "typescript(consistent-type-imports)",
    "shared/src/imports.ts",
    `import { Kind } from "./kind.ts"; export type Own = Kind;`,
  ],
  ["import(no-default-export)", "shared/src/default.ts", `export default 1;`],
  [
    "eslint(no-empty)",
    "shared/src/swallows.ts",
    `export function swallows(): void { try { JSON.parse("{"); } catch {} }`,
  ],
  ["eslint(no-console)", "shared/src/prints.ts", `export const prints = (): void => console.log(1);`],
  [
    "eslint(max-params)",
    "shared/src/params.ts",
    `export const four = (a: 1, b: 2, c: 3, d: 4) => [a, b, c, d];`,
  ],
  ["eslint(max-lines)", "shared/src/long.ts", long],
  [
    "eslint(max-lines-per-function)",
    "shared/src/tall.ts",
    `export function tall(count: number) {\n${tall}\n  return count;\n}`,
  ],
  [
    "eslint(complexity)",
    "shared/src/branches.ts",
    `export function branches(n: number) {\n${branches}\n  return n;\n}`,
  ],
  [
    "eslint(no-restricted-globals)",
    "shared/src/reads-process.ts",
    `export const port = process.env["PORT"];`,
  ],
] as const;

const ALLOWED = {
  "shared/src/kind.ts": `export type Kind = 1;`,
  "shared/test/allowed.test.ts": `import { describe, it } from "node:test"; describe("x", () => { it("y", async () => {}); });`,
  "server/src/main.ts": `export const port = process.env["PORT"];`,
  "scripts/task.ts": `console.log(process.argv);`,
};

describe("lint", () => {
  let tree: string;
  let said: { code: string; filename: string }[];

  before(async () => {
    tree = await mkdtemp(path.join(tmpdir(), "lint-"));
    for (const file of [".oxlintrc.json", "tsconfig.json"])
      await cp(path.join(ROOT, file), path.join(tree, file));
    await symlink(path.join(ROOT, "node_modules"), path.join(tree, "node_modules"));
    const files = [...Object.entries(ALLOWED), ...PLANTS.map(([, file, code]) => [file, code] as const)];
    for (const [file, code] of files) {
      await mkdir(path.dirname(path.join(tree, file)), { recursive: true });
      await writeFile(path.join(tree, file), `${code}\n`);
    }
    const args = [path.join(ROOT, "node_modules/.bin/oxlint"), "--type-aware", "--format", "json"];
    const output = await new Promise<string>((resolve) => {
      // Exit code 1 is expected: the tree is full of violations.
      execFile(process.execPath, args, { cwd: tree, maxBuffer: 16 * 1024 * 1024 }, (_error, stdout) =>
        resolve(stdout),
      );
    });
    said = Report.parse(JSON.parse(output)).diagnostics;
  });
  after(() => rm(tree, { recursive: true, force: true }));

  for (const [rule, file] of PLANTS) {
    it(`${rule} bites in ${file}`, () => {
      assert.deepEqual(
        said.filter(({ filename }) => filename === file).map(({ code }) => code),
        [rule],
      );
    });
  }

  it("what the house allows is not refused", () => {
    assert.deepEqual(
      said.filter(({ filename }) => filename in ALLOWED),
      [],
    );
  });
});
