import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { z } from "zod";

const ROOT = path.resolve(import.meta.dirname, "../..");
const FOLDERS = ["shared", "collab", "terminal", "server", "web", "scripts", "bench"];
const PACKAGES = ["shared", "collab", "terminal", "server"];

const Cruise = z.object({
  summary: z.object({
    totalCruised: z.number(),
    violations: z.array(z.object({ rule: z.object({ name: z.string() }), from: z.string(), to: z.string() })),
  }),
});
const Config = z.object({ default: z.object({ forbidden: z.array(z.object({ name: z.string() })) }) });
type Cruise = z.infer<typeof Cruise>["summary"];

/** Everything that the map allows and that looks most like what it forbids, and the far ends of what is planted. */
const HOUSE = {
  "shared/src/index.ts": `export * from "./kernel/leaf.ts";`,
  "shared/src/testing.ts": `import { it } from "node:test"; export const contract = it;`,
  "shared/src/kernel/leaf.ts": `export const leaf = 1; export type Leaf = number;`,
  "shared/test/leaf.test.ts": `import { leaf } from "../src/kernel/leaf.ts"; import "./support.ts"; console.log(leaf);`,
  "shared/test/support.ts": `export {};`,
  "collab/src/index.ts": `export * from "./room.ts"; export * from "./adapters/socket.ts"; export type * from "./ports.ts";`,
  "collab/src/testing.ts": `import { open } from "./adapters/socket.ts"; export { open };`,
  "collab/src/ports.ts": `import type { Server } from "node:http"; export interface Port { server: Server }`,
  "collab/src/room.ts": `import { randomBytes } from "node:crypto"; import { leaf } from "@scriptorium/shared"; export const room = [leaf, randomBytes];`,
  "collab/src/adapters/socket.ts": `import { connect } from "node:net"; import { room } from "../room.ts"; export const open = [connect, room];`,
  "collab/src/nested/adapters/disk.ts": `export const disk = 1;`,
  "collab/test/room.test.ts": `import { open } from "@scriptorium/collab/testing"; import "./support.ts"; console.log(open);`,
  "collab/test/support.ts": `export {};`,
  "terminal/src/index.ts": `export type * from "./ports.ts";`,
  "terminal/src/ports.ts": `export interface Pty { kill(): void }`,
  "server/src/index.ts": `export { compose } from "./compose.ts";`,
  "server/src/main.ts": `import { compose } from "./compose.ts"; console.log(compose);`,
  "server/src/compose.ts": `import { room } from "@scriptorium/collab"; import type { Pty } from "@scriptorium/terminal"; import "./storage/adapters/store.ts"; import "./rest/papers.ts"; export const compose = (pty: Pty) => [room, pty];`,
  "server/src/rest/papers.ts": `import { leaf } from "@scriptorium/shared"; import { readFile } from "node:fs/promises"; export const papers = [leaf, readFile];`,
  "server/src/storage/adapters/store.ts": `import type { Port } from "@scriptorium/collab"; import { open } from "@scriptorium/collab/testing"; export const store = (port: Port) => [port, open];`,
  "server/test/app.test.ts": `import { compose } from "../src/compose.ts"; import { room } from "@scriptorium/collab"; console.log(compose, room);`,
  "web/src/hen.ts": `import { egg } from "./egg.ts"; export const hen = () => egg;`,
  "web/src/host.ts": `import type { Guest } from "./guest.ts"; export interface Host { guest: Guest }`,
  "web/src/main.ts": `import { leaf } from "@scriptorium/shared"; console.log(leaf);`,
  "scripts/task.ts": `import { compose } from "@scriptorium/server"; console.log(compose);`,
  "bench/run.ts": `import { room } from "@scriptorium/collab"; console.log(room);`,
};

interface Plant {
  rule: string;
  what: string;
  /** The file that breaks the rule, importing `to`. */
  file: string;
  code: string;
  to: string;
}

const PLANTS: Plant[] = [
  {
    rule: "no-cycles",
    what: "two files that import each other",
    file: "web/src/egg.ts",
    code: `import { hen } from "./hen.ts"; export const egg = () => hen;`,
    to: "web/src/hen.ts",
  },
  {
    rule: "no-cycles",
    what: "the same by type alone",
    file: "web/src/guest.ts",
    code: `import type { Host } from "./host.ts"; export interface Guest { host: Host }`,
    to: "web/src/host.ts",
  },
  {
    rule: "shared-is-a-leaf",
    what: "shared importing a room by its package name",
    file: "shared/src/climb.ts",
    code: `import { Pty } from "@scriptorium/terminal"; export type Climb = Pty;`,
    to: "terminal/src/index.ts",
  },
  {
    rule: "rooms-do-not-know-each-other",
    what: "a room importing another's front door, by type alone",
    file: "collab/src/neighbour.ts",
    code: `import type { Pty } from "@scriptorium/terminal"; export type Neighbour = Pty;`,
    to: "terminal/src/index.ts",
  },
  {
    rule: "rooms-do-not-know-each-other",
    what: "the browser importing the server's front door",
    file: "web/src/back.ts",
    code: `import { compose } from "@scriptorium/server"; console.log(compose);`,
    to: "server/src/index.ts",
  },
  {
    rule: "only-the-composition-root-sees-rooms",
    what: "a REST file importing a room, by type alone",
    file: "server/src/rest/shortcut.ts",
    code: `import type { Port } from "@scriptorium/collab"; export type Shortcut = Port;`,
    to: "collab/src/index.ts",
  },
  {
    rule: "storage-knows-rooms-by-their-ports",
    what: "a store that runs a room's code",
    file: "server/src/storage/runs-a-room.ts",
    code: `import { room } from "@scriptorium/collab"; console.log(room);`,
    to: "collab/src/index.ts",
  },
  {
    rule: "rooms-are-entered-by-the-front-door",
    what: "a path into another package's files",
    file: "bench/back-door.ts",
    code: `import { room } from "../collab/src/room.ts"; console.log(room);`,
    to: "collab/src/room.ts",
  },
  {
    rule: "core-does-not-know-adapters",
    what: "a core file importing an adapter, by type alone",
    file: "collab/src/knows.ts",
    code: `import type { open } from "./adapters/socket.ts"; export type Knows = typeof open;`,
    to: "collab/src/adapters/socket.ts",
  },
  {
    rule: "core-does-not-know-adapters",
    what: "the same one folder down",
    file: "collab/src/nested/knows.ts",
    code: `import { disk } from "./adapters/disk.ts"; console.log(disk);`,
    to: "collab/src/nested/adapters/disk.ts",
  },
  {
    rule: "core-does-no-io",
    what: "a core file importing node:fs",
    file: "collab/src/reads.ts",
    code: `import { readFileSync } from "node:fs"; export const reads = readFileSync;`,
    to: "node:fs",
  },
  {
    rule: "core-does-no-io",
    what: "a core file importing an unprefixed core module's subpath",
    file: "shared/src/reads.ts",
    code: `import { readFile } from "fs/promises"; export const reads = readFile;`,
    to: "fs/promises",
  },
  {
    rule: "tests-are-not-imported",
    what: "product code importing a test's support file",
    file: "server/src/rest/uses-test.ts",
    code: `import "../../test/support.ts";`,
    to: "server/test/support.ts",
  },
];

/** Runs the repository's own configuration over the tree at `cwd`. */
async function cruise(cwd: string): Promise<Cruise> {
  const cli = path.join(ROOT, "node_modules/.bin/depcruise");
  const config = path.join(ROOT, ".dependency-cruiser.cjs");
  const args = [cli, "--config", config, "--output-type", "json", ...FOLDERS];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, maxBuffer: 64 * 1024 * 1024 });
  return Cruise.parse(JSON.parse(stdout)).summary;
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
}

async function buildTree(tree: string): Promise<void> {
  const planted = PLANTS.map(({ file, code }) => [file, code]);
  const files = [...Object.entries(HOUSE), ["server/test/support.ts", "export {};"], ...planted];
  for (const [file, code] of files) await write(path.join(tree, String(file)), `${code}\n`);
  const tsconfig = {
    compilerOptions: { module: "nodenext", allowImportingTsExtensions: true, noEmit: true },
  };
  await write(path.join(tree, "tsconfig.json"), JSON.stringify(tsconfig));
  await mkdir(path.join(tree, "node_modules/@scriptorium"), { recursive: true });
  for (const name of PACKAGES) {
    const exports = { ".": "./src/index.ts", "./testing": "./src/testing.ts" };
    const manifest = { name: `@scriptorium/${name}`, type: "module", exports };
    await write(path.join(tree, name, "package.json"), JSON.stringify(manifest));
    await symlink(path.join("../..", name), path.join(tree, "node_modules/@scriptorium", name));
  }
}

describe("import boundaries", () => {
  let tree: string;
  let found: Cruise;

  before(async () => {
    tree = await mkdtemp(path.join(tmpdir(), "boundaries-"));
    await buildTree(tree);
    found = await cruise(tree);
  });
  after(() => rm(tree, { recursive: true, force: true }));

  for (const { rule, what, file, to } of PLANTS) {
    it(`${rule} bites: ${what}`, () => {
      const bites = found.violations.filter((violation) => violation.from === file);
      assert.deepEqual(
        bites.map((bite) => [bite.rule.name, bite.to.replace(/^node:/, "")]),
        [[rule, to.replace(/^node:/, "")]],
      );
    });
  }

  it("nothing that the map allows is refused", () => {
    const planted = new Set(PLANTS.map(({ file }) => file));
    assert.deepEqual(
      found.violations.filter(({ from }) => !planted.has(from)),
      [],
    );
  });

  it("every rule of the configuration has a planted violation", async () => {
    const { default: config } = Config.parse(await import(path.join(ROOT, ".dependency-cruiser.cjs")));
    assert.deepEqual(
      new Set(config.forbidden.map(({ name }) => name)),
      new Set(PLANTS.map(({ rule }) => rule)),
    );
  });

  it("the house itself keeps every rule", async () => {
    const { violations, totalCruised } = await cruise(ROOT);
    assert.deepEqual(
      violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`),
      [],
    );
    assert.ok(totalCruised > 30, "the rooms were seen");
  });
});
