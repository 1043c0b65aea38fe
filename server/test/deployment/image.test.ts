import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { Environment } from "../../src/config.ts";
import { readText, ROOT } from "./compose-file.ts";

/** Dockerfile and .dockerignore against what the server is made of; scripts/build-image.sh builds it. */

const Manifest = z.object({
  name: z.string(),
  version: z.string(),
  workspaces: z.array(z.string()).default([]),
  dependencies: z.record(z.string(), z.string()).default({}),
});
const manifestOf = (folder: string) => Manifest.parse(JSON.parse(readText(`${folder}/package.json`)));
const SCOPE = "@scriptorium/";

const instructions = readText("Dockerfile")
  .replaceAll(/^\s*#.*\n/gm, "")
  .replaceAll(/\\\n\s*/g, "")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => {
    const [, name = "", rest = ""] = /^(\w+) (.*)$/.exec(line) ?? [];
    return { name, rest };
  });

/** The instructions of one stage, without those it builds upon. */
function stage(wanted: string) {
  const begins = instructions.findIndex(({ name, rest }) => name === "FROM" && rest.endsWith(wanted));
  assert.notEqual(begins, -1, wanted);
  const length = instructions.slice(begins + 1).findIndex(({ name }) => name === "FROM");
  return instructions.slice(begins + 1, length === -1 ? undefined : begins + 1 + length);
}

const all = (from: readonly { name: string; rest: string }[], name: string): string[] =>
  from.filter((each) => each.name === name).map(({ rest }) => rest);

/** Folders of the workspaces that the server is made of. */
function serverWorkspaces(): string[] {
  const found = new Set(["server"]);
  for (const folder of found) {
    for (const name of Object.keys(manifestOf(folder).dependencies)) {
      if (name.startsWith(SCOPE)) found.add(name.slice(SCOPE.length));
    }
  }
  return [...found];
}

const IMPORT = /^(?:import|export)\s(?:[^;"]*?\sfrom\s)?"(?<name>[^"]+)";/gm;
const TYPES_ONLY = /^(?:import|export) type\b/;

describe("the image", () => {
  const last = stage("${BASE}");

  it("is based on images of an exact version, which arguments replace", () => {
    const bases = all(instructions, "ARG").filter((argument) => /^(BASE|NODE_IMAGE)=/.test(argument));
    assert.equal(bases.length, 2);
    for (const base of bases) assert.match(base, /:(\d+\.\d+\.\d+-\S+|bookworm-\d{8}-slim)$/);
    // Debian on both sides: the Node that is installed in the one runs on the C library of the other.
    for (const base of bases) assert.match(base, /bookworm/);
    assert.deepEqual(
      all(instructions, "FROM").filter(
        (from) => !/^(\$\{(BASE|NODE_IMAGE)\}|manifests)( AS \w+)?$/.test(from),
      ),
      [],
    );
  });

  it("runs Node itself, as a user without a name to guess, and is ended by SIGTERM", () => {
    const [node = "", command = ""] = ["ENTRYPOINT", "CMD"].map((name) => all(last, name)[0] ?? "");
    assert.equal(node, '["node"]');
    const [script] = z.tuple([z.string()]).parse(JSON.parse(command));
    assert.ok(readText(script).includes('process.on("SIGTERM"'));
    assert.match(all(last, "USER")[0] ?? "", /^[1-9]\d{3,}:[1-9]\d{3,}$/);
    assert.deepEqual(all(last, "STOPSIGNAL"), ["SIGTERM"]);
    assert.ok(
      last.findIndex(({ name }) => name === "USER") > last.findLastIndex(({ name }) => name === "RUN"),
    );
  });

  it("asks for its health with what it has: Node", () => {
    const [, json = ""] = /CMD (\[.*\])$/.exec(all(last, "HEALTHCHECK")[0] ?? "") ?? [];
    const [node, flag, code = ""] = z.array(z.string()).parse(JSON.parse(json));
    assert.deepEqual([node, flag], ["node", "-e"]);
    assert.match(code, /\/healthz`/);
  });

  it("carries no npm and no compiler: what it is made of is copied, never installed", () => {
    for (const command of all(last, "RUN"))
      assert.doesNotMatch(command, /\b(npm|npx|apt|apt-get|dpkg|curl)\b/);
    const copied = all(last, "COPY").filter((copy) => copy.includes("node_modules"));
    assert.deepEqual(copied, ["--from=client /build/node_modules/node/bin/node /usr/local/bin/node"]);
    // Never `npm install`, which would not be what package-lock.json says.
    const installs = all(instructions, "RUN").flatMap((command) => command.match(/\bnpm [a-z]+/g) ?? []);
    assert.deepEqual(new Set(installs), new Set(["npm ci"]));
  });

  it("sets settings that exist", () => {
    const set = (all(last, "ENV")[0] ?? "").split(" ").map((each) => each.split("=")[0] ?? "");
    assert.deepEqual(
      set.filter((name) => name !== "NODE_ENV" && !(name in Environment.shape)),
      [],
    );
  });

  it("is called by the version of package.json", () => {
    assert.ok(
      all(last, "ARG").includes(`VERSION=${Manifest.parse(JSON.parse(readText("package.json"))).version}`),
    );
  });

  it("has the manifest of every workspace, or npm ci refuses the lock", () => {
    const manifests = all(stage("AS manifests"), "COPY");
    for (const folder of Manifest.parse(JSON.parse(readText("package.json"))).workspaces) {
      assert.ok(manifests.includes(`${folder}/package.json ${folder}/`), folder);
    }
  });

  it("has the packages and the sources of every workspace that the server is made of", () => {
    const production = stage("AS production");
    const [install = ""] = all(production, "RUN");
    assert.match(install, /npm ci --omit=dev --ignore-scripts /);
    const installed = Array.from(install.matchAll(/--workspace=(\w+)/g), ([, folder = ""]) => folder);
    assert.deepEqual(installed.toSorted(), serverWorkspaces().toSorted());
    for (const folder of installed)
      assert.ok(all(production, "COPY").includes(`${folder}/src ${folder}/src`), folder);
  });

  it("imports only what it installs: no package that only tests use", () => {
    let seen = 0;
    for (const folder of serverWorkspaces()) {
      const { name: own, dependencies } = manifestOf(folder);
      const pattern = fileURLToPath(new URL(`${folder}/src/**/*.ts`, ROOT));
      for (const file of globSync(pattern, { exclude: ["**/testing.ts", "**/testing/**"] })) {
        for (const match of readFileSync(file, "utf8").matchAll(IMPORT)) {
          const name = match.groups?.["name"] ?? "";
          const packageName = name.split("/", name.startsWith("@") ? 2 : 1).join("/");
          const ours = name.startsWith(".") || packageName === own;
          if (ours || isBuiltin(name) || TYPES_ONLY.test(match[0])) continue;
          seen += 1;
          assert.ok(packageName in dependencies, `${file} imports ${name}`);
        }
      }
    }
    assert.ok(seen > 50, `${seen} imports were seen`);
  });

  it("gets every file that it copies past .dockerignore, and nothing else", () => {
    const lines = readText(".dockerignore").split("\n");
    const rules = lines.filter((line) => line !== "" && !line.startsWith("#"));
    assert.equal(rules[0], "*");
    const letIn = rules.filter((rule) => rule.startsWith("!")).map((rule) => rule.slice(1));
    const sources = all(instructions, "COPY")
      .filter((copy) => !copy.startsWith("--from="))
      .flatMap((copy) => copy.split(" ").slice(0, -1));
    for (const source of sources) {
      assert.ok(
        letIn.some((path) => source === path || source.startsWith(`${path}/`)),
        `${source} is kept out`,
      );
    }
    for (const path of letIn) {
      assert.ok(
        sources.some((source) => source === path || source.startsWith(`${path}/`)),
        `${path} is let in for nothing`,
      );
    }
    for (const secret of ["**/.env*", "**/node_modules", "**/test"]) assert.ok(rules.includes(secret));
  });
});
