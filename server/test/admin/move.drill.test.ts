import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { spawnServer, type Person } from "@scriptorium/server/testing";
import { newId } from "@scriptorium/shared";
import { MongoClient } from "mongodb";
import * as Y from "yjs";
import { piecesOf } from "../../src/admin/pieces.ts";
import { createTally } from "../../src/admin/tally.ts";
import type { Doc } from "../../src/storage/ports.ts";
import { openSqliteHolding } from "../../src/storage/adapters/sqlite/holding.ts";
import { openSqlite } from "../../src/storage/adapters/sqlite/open.ts";
import { SILENT } from "../storage/temporary-store.ts";
import { admin, startAdmin } from "../support/admin.ts";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { sameContent } from "../support/audit.ts";
import { seeded } from "../support/random.ts";
import { openSite, until, type Site } from "../support/site.ts";
import { openCrowd } from "../support/typists.ts";

const KILLS = 6;
const TYPE_MS = 20;

async function database(t: TestContext): Promise<string> {
  const { url, drop } = await freshDatabase();
  t.after(drop);
  return url;
}

async function seenBy(person: Person): Promise<unknown> {
  const projects = (await person.projects()).items;
  const papers = projects.map(({ id }) => person.call("GET", `/projects/${id}/papers`));
  return { me: await person.call("GET", "/users/me"), projects, papers: await Promise.all(papers) };
}

interface PaperDoc extends Doc {
  readonly projectId: string;
  readonly title: string;
}
const PAPERS = { name: "papers", unique: [], indexes: [["projectId"]] };

/** Enough beside the documents that a move takes longer than it takes to start one. */
async function addBulk(dir: string): Promise<void> {
  const store = await openSqlite({ dir, log: SILENT });
  const papers = store.open<PaperDoc>(PAPERS);
  const ids = Array.from({ length: 3_000 }, (_, i) => newId(i + 1));
  await Promise.all(ids.map((id) => papers.insert({ id, projectId: newId(), title: id })));
  await Promise.all(
    ids.map((id) => store.streams.append(`refresh:${id}`, { at: 1, entry: { state: "revoked", at: 1 } })),
  );
  await store.close();
}

/** Everything that the source holds, by what a move itself compares. */
async function totalsOf(dir: string): Promise<unknown> {
  const source = await openSqliteHolding({ dir, log: SILENT });
  const tally = createTally();
  for await (const piece of piecesOf(source)) tally.add(piece);
  await source.close();
  return tally.totals();
}

/** The source goes on after a move was cut short: what was written to the target meanwhile is out of date. */
async function goOn(dir: string): Promise<void> {
  const store = await openSqlite({ dir, log: SILENT, moved: "allowed" });
  const papers = store.open<PaperDoc>(PAPERS);
  const [first, second] = await papers.find({ where: {}, limit: 2 });
  await papers.remove(first?.id ?? "");
  await papers.patch(second?.id ?? "", { title: "renamed meanwhile" });
  await store.close();
}

describe("moving an installation from SQLite to MongoDB", () => {
  if (NO_MONGO === false) after(stopSharedMongo);

  async function typedInto(t: TestContext): Promise<{ site: Site; documents: string[]; other: Person }> {
    const site = await openSite(t);
    const other = await site.register();
    const project = await site.owner.createProject();
    await site.owner.addMember(project.id, other.user.id, "editor");
    const documents = [await site.notes(project.id), await site.notes(project.id)];
    const typists = documents.flatMap((document) => openCrowd(site, { document, random: seeded(3) }));
    await until(() => typists.every(({ settled }) => settled), "everybody is in");
    for (const typist of typists) typist.startTyping(TYPE_MS);
    await until(() => typists.every(({ words }) => words.length > 80), "there is something to move", 60_000);
    for (const typist of typists) {
      typist.stopTyping();
      typist.destroy();
    }
    return { site, documents, other };
  }

  it(
    `is finished after ${KILLS} kills at any moment, with equal documents and valid tokens, and leaves the source as it was`,
    { skip: NO_MONGO },
    async (t) => {
      const random = seeded(randomInt(2 ** 31));
      t.diagnostic(`seed ${random.seed}`);
      const { site, documents, other } = await typedInto(t);
      const people = [site.owner, other];
      const seen = await Promise.all(people.map(seenBy));
      const before = await Promise.all(documents.map((name) => site.read(name)));
      const held = await startAdmin(["move", "--to", await database(t)], { DATA_DIR: site.dir }).ended;
      assert.equal(held.code, 1);
      assert.match(held.stderr, /another process has the data directory .* open; stop it/);
      await site.server.kill("SIGTERM");
      site.proxy.shut();
      await addBulk(site.dir);

      const moving = (to: string) => startAdmin(["move", "--to", to], { DATA_DIR: site.dir });
      const startedAt = performance.now();
      assert.match((await moving(await database(t)).ended).stdout, /^Moved documents 2,.*Set MONGODB_URL/s);
      const wholeMs = performance.now() - startedAt;
      await rm(join(site.dir, "moved.json"));

      let url = await database(t);
      let unfinished = 0;
      for (let round = 0; round < KILLS; round += 1) {
        const run = moving(url);
        await delay(wholeMs * (0.2 + 0.8 * (random.below(1_000) / 1_000)));
        run.kill();
        if ((await run.ended).code === 0) {
          // It was quicker than the first one. Once more, elsewhere.
          await rm(join(site.dir, "moved.json"));
          url = await database(t);
        }
        if (!(await isMarked(url))) continue;
        unfinished += 1;
        if (unfinished > 1) continue;
        await goOn(site.dir);
        const refused = /MONGODB_URL: this database is being filled by .*move/;
        await assert.rejects(spawnServer({ env: { MONGODB_URL: url } }), refused);
      }
      t.diagnostic(
        `${unfinished} of ${KILLS} kills left something unfinished; a move took ${wholeMs | 0} ms`,
      );
      assert.ok(unfinished > 0);
      const source = await totalsOf(site.dir);
      assert.match((await moving(url).ended).stdout, /^Moved/);
      assert.deepEqual(await totalsOf(site.dir), source, "the source is as it was");

      const server = await spawnServer({ env: { MONGODB_URL: url } });
      t.after(() => server.kill("SIGKILL"));
      site.proxy.open(server.port);
      // The tokens of before, through the address that they know.
      for (const [index, person] of people.entries()) {
        assert.deepEqual(await seenBy(person), seen[index]);
        await person.refresh();
        assert.deepEqual(await seenBy(person), seen[index]);
        assert.equal((await site.login(person)).user.id, person.user.id);
      }
      for (const [index, name] of documents.entries()) {
        const moved = new Y.Doc();
        Y.applyUpdate(moved, await site.owner.document(name));
        assert.ok(sameContent(before[index] ?? new Y.Doc(), moved));
        assert.ok(moved.getText("md").length > 80);
      }
      await server.kill("SIGKILL");
      await assert.rejects(
        spawnServer({ dir: site.dir }),
        /DATA_DIR: the installation .* was moved to mongodb:/,
      );
      const again = await moving(url).ended;
      assert.deepEqual([again.code, again.stdout], [1, ""]);
      assert.match(again.stderr, /is not empty/);
    },
  );

  it(
    "refuses a database that holds anything else, and leaves it as it was",
    { skip: NO_MONGO },
    async (t) => {
      const site = await openSite(t);
      await site.server.kill("SIGTERM");
      const url = await database(t);
      const client = new MongoClient(url);
      t.after(() => client.close());
      await client.db().collection("customers").insertOne({ name: "somebody else's" });
      const run = await startAdmin(["move"], { DATA_DIR: site.dir, MOVE_TO: url }).ended;
      assert.equal(run.code, 1);
      assert.match(run.stderr, /is not empty, it holds customers/);
      assert.deepEqual(
        (await client.db().listCollections().toArray()).map(({ name }) => name),
        ["customers"],
      );
      // The unfinished target of another installation.
      const theirs = await database(t);
      const other = new MongoClient(theirs);
      t.after(() => other.close());
      const mark = { by: "move", source: "another", run: "x", at: "2026-01-01" };
      await other
        .db()
        .collection<{ _id: string }>("meta")
        .insertOne({ _id: "unfinished", ...mark });
      const second = await startAdmin(["move", "--to", theirs], { DATA_DIR: site.dir }).ended;
      assert.match(second.stderr, /is being filled by another move/);
      assert.equal(await other.db().collection("meta").countDocuments(), 1);
      // The source can still be served.
      await site.start();
      await site.server.kill("SIGTERM");
      await assert.rejects(
        admin(["move", "--to", url], { DATA_DIR: `${site.dir}/none` }),
        /there is no installation/,
      );
    },
  );
});

async function isMarked(url: string): Promise<boolean> {
  const client = new MongoClient(url);
  const mark = await client.db().collection<{ _id: string }>("meta").findOne({ _id: "unfinished" });
  await client.close();
  return mark !== null;
}
