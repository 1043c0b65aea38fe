import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, describe, it } from "node:test";
import { spawnServer } from "@scriptorium/server/testing";
import { MongoClient } from "mongodb";
import { converge } from "./support/audit.ts";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "./support/mongo.ts";
import { seeded } from "./support/random.ts";
import { openSite, until } from "./support/site.ts";
import { openCrowd } from "./support/typists.ts";

const DATABASE = "scriptorium.db";

describe("nodes that start at once on an empty MongoDB database", { skip: NO_MONGO }, () => {
  after(stopSharedMongo);

  it("all come up and are one installation", async (t) => {
    const { url, drop } = await freshDatabase();
    t.after(drop);
    const env = { MONGODB_URL: url };
    const nodes = await Promise.all([1, 2, 3].map(() => spawnServer({ env })));
    t.after(() => Promise.all(nodes.map((node) => node.kill("SIGKILL"))));
    const people = await Promise.all(nodes.map((node, i) => node.register(`person${i}`)));
    assert.equal(people.filter(({ user }) => user.admin).length, 1, "one of them came first");
    // The same keys sign everywhere.
    for (const { url: address } of nodes) {
      for (const { accessToken } of people) {
        const headers = { authorization: `Bearer ${accessToken}` };
        assert.equal((await fetch(`${address}/api/v1/users/me`, { headers })).status, 200);
      }
    }
    // A version that knows less starts later.
    await Promise.all(nodes.map((node) => node.kill("SIGTERM")));
    const client = new MongoClient(url);
    t.after(() => client.close());
    await client
      .db()
      .collection<{ _id: string }>("meta")
      .updateOne({ _id: "layout" }, { $set: { version: 99 } });
    await assert.rejects(
      spawnServer({ env }),
      /cannot start: MONGODB_URL: the data was written by a newer version of Scriptorium \(layout 99,/,
    );
  });
});

/** What else a start refuses (configuration, addresses, directories) is in process.test.ts. */
describe("a start that is refused", () => {
  it("leaves a first server on the same directory alone, in the middle of typing", async (t) => {
    const site = await openSite(t);
    const project = await site.owner.createProject();
    const document = await site.notes(project.id);
    const typists = openCrowd(site, { document, random: seeded(8) });
    await until(() => typists.every(({ settled }) => settled), "everybody is in");
    for (const typist of typists) typist.startTyping(30);
    for (let i = 0; i < 3; i += 1) {
      const [told] = typists;
      const before = told?.promised.length ?? 0;
      const second = spawnServer({ dir: site.dir }).then((started) => started.kill("SIGKILL"));
      await assert.rejects(
        second,
        /cannot start: DATA_DIR: another process has the data directory .* open; stop it, or set DATA_DIR/,
      );
      await until(() => (told?.promised.length ?? 0) > before + 10, "acknowledgements go on");
    }
    await converge(site, typists);
    assert.ok(typists.every(({ closes }) => closes.length === 0));
    // With the first one gone, however it went, the directory is free.
    await site.server.kill("SIGKILL");
    await site.start();
    site.letIn();
    await converge(site, typists);
  });

  it("leaves the data of a newer version as it is", async (t) => {
    const site = await openSite(t);
    await site.server.kill("SIGTERM");
    const file = join(site.dir, DATABASE);
    const db = new DatabaseSync(file);
    db.exec("PRAGMA user_version = 99");
    db.close();
    const bytes = await readFile(file);
    await assert.rejects(site.start(), /cannot start: DATA_DIR: the data was written by a newer version/);
    assert.deepEqual(await readFile(file), bytes);
  });
});
