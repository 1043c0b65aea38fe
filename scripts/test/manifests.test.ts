import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, it } from "node:test";
import { z } from "zod";

const ROOT = path.resolve(import.meta.dirname, "../..");
const Versions = z.record(z.string(), z.string()).default({});
const Manifest = z.object({
  name: z.string(),
  version: z.string(),
  license: z.string(),
  private: z.boolean(),
  workspaces: z.array(z.string()).default([]),
  dependencies: Versions,
  devDependencies: Versions,
  optionalDependencies: Versions,
  peerDependencies: Versions,
  overrides: Versions,
});

const Lock = z.object({ packages: z.record(z.string(), z.object({ optionalDependencies: Versions })) });

function readManifest(folder: string): z.infer<typeof Manifest> {
  return Manifest.parse(JSON.parse(readFileSync(path.join(ROOT, folder, "package.json"), "utf8")));
}

const root = readManifest(".");
const folders = [".", ...root.workspaces];

function versionsOf(folder: string): [name: string, version: string][] {
  const manifest = readManifest(folder);
  return Object.entries({
    ...manifest.overrides,
    ...manifest.peerDependencies,
    ...manifest.optionalDependencies,
    ...manifest.devDependencies,
    ...manifest.dependencies,
  });
}

describe("package.json", () => {
  for (const folder of folders) {
    it(`${folder}: every version is pinned exactly`, () => {
      const loose = versionsOf(folder).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version));
      assert.deepEqual(loose, []);
    });

    it(`${folder}: Apache-2.0, never published by accident`, () => {
      const { license, private: isPrivate, version } = readManifest(folder);
      assert.deepEqual([license, isPrivate, version], ["Apache-2.0", true, root.version]);
    });
  }

  it("a package has one version in the whole house", () => {
    const versions = new Map<string, Set<string>>();
    for (const [name, version] of folders.flatMap(versionsOf)) {
      versions.set(name, (versions.get(name) ?? new Set()).add(version));
    }
    assert.deepEqual(
      [...versions].filter(([, set]) => set.size > 1),
      [],
    );
  });

  it("the lock names every platform's variant of a package, or npm ci refuses it", () => {
    const { packages } = Lock.parse(JSON.parse(readFileSync(path.join(ROOT, "package-lock.json"), "utf8")));
    const missing = Object.values(packages)
      .flatMap(({ optionalDependencies }) => Object.keys(optionalDependencies))
      .filter((name) => packages[`node_modules/${name}`] === undefined);
    assert.deepEqual(missing, []);
  });
});
