import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { describe, it, type TestContext } from "node:test";
import { spawnServer } from "@scriptorium/server/testing";
import { assertKept, converge } from "./support/audit.ts";
import { freshDatabase, NO_MONGO, NO_MONGO_COMMAND, startMongo, stopSharedMongo } from "./support/mongo.ts";
import { seeded } from "./support/random.ts";
import { openSite, until, type Site } from "./support/site.ts";
import { openCrowd, type Typist } from "./support/typists.ts";

const TYPE_MS = 100;

const readyz = async (site: Site): Promise<number> => (await fetch(`${site.server.url}/readyz`)).status;

const promisedTo = (typists: readonly Typist[]): number =>
  typists.reduce((sum, { promised }) => sum + promised.length, 0);

async function openScene(
  t: TestContext,
  url: string,
): Promise<{ site: Site; document: string; typists: Typist[] }> {
  const site = await openSite(t, { env: { MONGODB_URL: url } });
  const project = await site.owner.createProject();
  const document = await site.notes(project.id);
  const typists = openCrowd(site, { document, random: seeded(5) });
  await until(() => typists.every(({ settled }) => settled), "everybody is in");
  for (const typist of typists) typist.startTyping(TYPE_MS);
  await until(() => promisedTo(typists) > 10, "acknowledgements come");
  return { site, document, typists };
}

describe("a node on MongoDB", () => {
  it(
    "[DL3] keeps accounts, projects and every acknowledged edit over kill -9, without a data directory",
    { skip: NO_MONGO },
    async (t) => {
      const { url, drop } = await freshDatabase();
      t.after(async () => {
        await drop();
        await stopSharedMongo();
      });
      const { site, document, typists } = await openScene(t, url);
      await site.server.kill("SIGKILL");
      site.proxy.shut();
      await until(() => typists.every(({ connected }) => !connected), "every client has seen the end");
      await site.start();
      assert.ok(assertKept(await site.read(document), typists).acknowledged > 0);
      site.letIn();
      await converge(site, typists);
      assert.equal((await site.owner.projects()).items.length, 1);
      assert.deepEqual(await readdir(site.dir), [], "nothing is written to DATA_DIR");
      // What the store holds is all there is: another start, elsewhere, serves the same.
      const elsewhere = await spawnServer({ env: { MONGODB_URL: url } });
      assert.equal((await elsewhere.login(site.owner.user.username)).user.id, site.owner.user.id);
      await elsewhere.kill("SIGTERM");
    },
  );

  it(
    "[SH1] holds acknowledgements while its MongoDB is dead, and recovers by itself",
    { skip: NO_MONGO_COMMAND },
    async (t) => {
      const mongo = await startMongo();
      try {
        const { site, document, typists } = await openScene(t, `${mongo.url}x`);
        await mongo.kill();
        await until(async () => (await readyz(site)) === 503, "the server says that it is not ready");
        const promised = promisedTo(typists);
        await until(() => typists.every(({ words }) => words.length > 10), "they go on typing");
        assert.equal(promisedTo(typists), promised, "nothing was acknowledged meanwhile");
        assert.ok(
          typists.every(({ connected }) => connected),
          "nobody was thrown out",
        );
        await mongo.restart();
        await until(async () => (await readyz(site)) === 200, "the server is ready again");
        await converge(site, typists);
        await site.server.kill("SIGKILL");
        site.proxy.shut();
        await site.start();
        assertKept(await site.read(document), typists);
        await site.server.kill("SIGKILL");
      } finally {
        await mongo.stop();
      }
    },
  );
});
