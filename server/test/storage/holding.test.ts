import assert from "node:assert/strict";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, it, type TestContext } from "node:test";
import { openMongoTarget } from "../../src/storage/adapters/mongo/holding.ts";
import { openMongo } from "../../src/storage/adapters/mongo/open.ts";
import {
  openSqliteCopy,
  openSqliteHolding,
  openSqliteTarget,
} from "../../src/storage/adapters/sqlite/holding.ts";
import { noteMove } from "../../src/storage/adapters/sqlite/moved.ts";
import { openSqlite } from "../../src/storage/adapters/sqlite/open.ts";
import type { Target } from "../../src/storage/archive.ts";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { removeDir, SILENT, temporaryDir } from "./temporary-store.ts";

const log = SILENT;
const THINGS = { name: "things", unique: [], indexes: [] };

async function directory(t: TestContext): Promise<string> {
  const dir = await temporaryDir();
  t.after(() => removeDir(dir));
  return dir;
}

async function filled(target: Target): Promise<Target> {
  await target.archive.addDocs(THINGS, [{ id: "one" }]);
  return target;
}

describe("a directory that is being filled", () => {
  it("is empty for everybody until it is finished, is locked, and forgets an attempt that was killed", async (t) => {
    const dir = await directory(t);
    const killed = join(dir, "restoring-killed");
    await mkdir(killed);
    await writeFile(join(killed, "scriptorium.db"), "half");
    const target = await filled(await openSqliteTarget({ dir, log }));
    await assert.rejects(openSqliteTarget({ dir, log }), /another process has the data directory/);
    await assert.rejects(openSqlite({ dir, log }), /another process has the data directory/);
    await assert.rejects(openSqliteHolding({ dir, log }), /there is no installation/);
    await target.finish();
    assert.deepEqual((await readdir(dir)).toSorted(), ["lock.db", "scriptorium.db"]);
    const store = await openSqlite({ dir, log });
    assert.deepEqual(await store.open(THINGS).get("one"), { id: "one" });
    await store.close();
    await assert.rejects(openSqliteTarget({ dir, log }), /holds an installation already/);
  });

  it("is left empty when it is given up", async (t) => {
    const dir = await directory(t);
    await (await filled(await openSqliteTarget({ dir, log }))).close();
    assert.deepEqual(await readdir(dir), ["lock.db"]);
    await (await openSqliteTarget({ dir, log })).close();
  });
});

describe("a directory that is not empty", () => {
  const left = ["scriptorium.db-wal", "scriptorium.db-shm", "scriptorium.db-journal"];
  for (const name of left)
    it(`is not filled when ${name} was left in it, which would be replayed over the new database`, async (t) => {
      const dir = await directory(t);
      await writeFile(join(dir, name), "");
      await assert.rejects(openSqliteTarget({ dir, log }), /holds an installation already/);
      assert.deepEqual(await readdir(dir), [name]);
    });

  it("is not filled when an installation was moved from it, since no server would serve it", async (t) => {
    const dir = await directory(t);
    noteMove(dir, { to: "mongodb://host/db", at: "2026-01-01" });
    await assert.rejects(openSqliteTarget({ dir, log }), /was moved to mongodb/);
    assert.deepEqual(await readdir(dir), ["moved.json"]);
  });
});

describe("an installation in a directory", () => {
  it("is copied as it is at one moment while its server has it open", async (t) => {
    const [dir, into] = [await directory(t), await directory(t)];
    const store = await openSqlite({ dir, log });
    const things = store.open(THINGS);
    await things.insert({ id: "before" });
    const writing = Promise.all(
      Array.from({ length: 50 }, (_, i) => things.insert({ id: `meanwhile-${i}` })),
    );
    const copy = await openSqliteCopy({ dir, into, log });
    await writing;
    await things.insert({ id: "after" });
    assert.deepEqual(await copy.store.open(THINGS).get("before"), { id: "before" });
    assert.equal(await copy.store.open(THINGS).get("after"), undefined);
    await copy.close();
    await store.close();
  });

  it("is not served any more when it was moved away, and can still be moved", async (t) => {
    const dir = await directory(t);
    await (await openSqlite({ dir, log })).close();
    noteMove(dir, { to: "mongodb://elsewhere/db", at: "2026-01-01" });
    await assert.rejects(
      openSqlite({ dir, log }),
      /was moved to mongodb:\/\/elsewhere\/db at 2026-01-01; set MONGODB_URL/,
    );
    await assert.rejects(openSqliteCopy({ dir, into: dir, log }), /was moved to/);
    await (await openSqliteHolding({ dir, log })).close();
    await rm(join(dir, "moved.json"));
    await (await openSqlite({ dir, log })).close();
  });
});

describe("a database that is being filled", { skip: NO_MONGO }, () => {
  if (NO_MONGO === false) after(stopSharedMongo);
  const claim = { by: "restore", source: "a backup" } as const;

  async function database(t: TestContext): Promise<string> {
    const { url, drop } = await freshDatabase();
    t.after(drop);
    return url;
  }

  it("is refused by a server until it is finished, and by whoever fills it from something else", async (t) => {
    const url = await database(t);
    const target = await filled(await openMongoTarget({ url, log, claim }));
    await assert.rejects(
      openMongo({ url, log }),
      /is being filled by "npm run admin -- restore" since .* not finished/,
    );
    const other = openMongoTarget({ url, log, claim: { ...claim, source: "another backup" } });
    await assert.rejects(other, /is being filled by another restore/);
    await target.finish();
    const store = await openMongo({ url, log });
    assert.deepEqual(await store.open(THINGS).get("one"), { id: "one" });
    await store.close();
    await assert.rejects(openMongoTarget({ url, log, claim }), /is not empty, it holds doc_things/);
  });

  it("is emptied by the next attempt at the same thing, and finished by that one alone", async (t) => {
    const url = await database(t);
    const first = await filled(await openMongoTarget({ url, log, claim }));
    const second = await openMongoTarget({ url, log, claim });
    assert.equal(await second.store.open(THINGS).get("one"), undefined);
    await assert.rejects(first.finish(), /another run is filling this database/);
    await first.close();
    await filled(second);
    await second.finish();
    await (await openMongo({ url, log })).close();
  });
});
