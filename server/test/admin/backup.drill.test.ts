import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { CollabNotice } from "@scriptorium/shared";
import { createClient, spawnServer, type Person, type ServerProcess } from "@scriptorium/server/testing";
import { admin, startAdmin } from "../support/admin.ts";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { seeded } from "../support/random.ts";
import { openSite, until, type Site } from "../support/site.ts";
import { openCrowd, openHocuspocus, type Typist, type Word } from "../support/typists.ts";
import { removeDir, temporaryDir } from "../storage/temporary-store.ts";

const TYPE_MS = 25;
const RESET = 4410;

interface Place {
  readonly kind: "SQLite" | "MongoDB";
  readonly env: Readonly<Record<string, string>>;
}

async function newPlace(t: TestContext, kind: Place["kind"]): Promise<Place> {
  if (kind === "MongoDB") {
    const { url, drop } = await freshDatabase();
    t.after(drop);
    return { kind, env: { MONGODB_URL: url } };
  }
  const dir = await temporaryDir();
  t.after(() => removeDir(dir));
  return { kind, env: { DATA_DIR: dir } };
}

/** What people see of each other and of their work, as REST tells it. */
async function seenBy(person: Person): Promise<unknown> {
  const projects = (await person.projects()).items;
  const within = projects.map(async ({ id }) => ({
    papers: await person.call("GET", `/projects/${id}/papers`),
    members: await person.call("GET", `/projects/${id}/members`),
  }));
  return { me: await person.call("GET", "/users/me"), projects, within: await Promise.all(within) };
}

interface Scene {
  readonly site: Site;
  readonly people: readonly Person[];
  readonly documents: readonly string[];
  readonly typists: readonly Typist[];
  /** A paper whose notes were never opened before the backup. */
  readonly untouched: string;
}

/** Three people in two projects, and five clients that type into two papers' notes. */
async function openScene(t: TestContext, place: Place): Promise<Scene> {
  const site = await openSite(t, { env: place.env });
  const [bo, carl] = [await site.register(), await site.register()];
  const [one, two] = [await site.owner.createProject("One"), await site.owner.createProject("Two")];
  await site.owner.addMember(one.id, bo.user.id, "editor");
  await site.owner.addMember(one.id, carl.user.id, "viewer");
  await site.owner.addMember(two.id, carl.user.id, "commenter");
  const documents = [await site.notes(one.id), await site.notes(two.id)];
  const untouched = await site.notes(two.id);
  const random = seeded(11);
  const typists = documents.flatMap((document) => openCrowd(site, { document, random }));
  await until(() => typists.every(({ settled }) => settled), "everybody is in");
  for (const typist of typists) typist.startTyping(TYPE_MS);
  return { site, people: [site.owner, bo, carl], documents, typists, untouched };
}

const acknowledged = (typists: readonly Typist[]): number =>
  typists.reduce((sum, typist) => sum + typist.acknowledgedWords().length, 0);

interface Kept {
  readonly file: string;
  /** By document: words that were acknowledged when the backup began. */
  readonly promised: ReadonlyMap<string, readonly Word[]>;
  readonly seen: readonly unknown[];
  /** Tokens of then. */
  readonly refreshTokens: readonly string[];
}

/** Backs up under typing, and lets the world go on: more typing, a document emptied, newer tokens, a new notes. */
async function keep({ site, people, typists, documents, untouched }: Scene, place: Place): Promise<Kept> {
  await until(() => acknowledged(typists) > 150, "there is something to keep", 60_000);
  const seen = await Promise.all(people.map(seenBy));
  const refreshTokens = people.map(({ refreshToken }) => refreshToken);
  const promised = new Map(
    documents.map((document) => [
      document,
      typists
        .filter((typist) => typist.document === document)
        .flatMap((typist) => typist.acknowledgedWords()),
    ]),
  );
  const file = join(site.dir, `${place.kind}.backup`);
  await admin(["backup", file], { DATA_DIR: site.dir, ...place.env });
  const before = acknowledged(typists);
  await until(() => acknowledged(typists) > before + 30, "typing goes on after the backup");
  for (const typist of typists) typist.stopTyping();
  await until(() => typists.every(({ settled }) => settled), "all is saved");
  // What somebody restores a backup for, and what no state vector shows.
  typists[0]?.text.delete(0, typists[0].text.length);
  const late = openCrowd(site, { document: untouched, random: seeded(12), hocuspocus: 0, yWebsocket: 1 });
  late[0]?.type();
  await until(() => [...typists, ...late].every(({ settled }) => settled), "that is saved, too");
  for (const typist of late) typist.destroy();
  // Once for the first, three times for the second: generations that the backup does not know.
  await site.owner.refresh();
  for (let i = 0; i < 3; i += 1) await people[1]?.refresh();
  return { file, promised, seen, refreshTokens };
}

/** A person with the tokens that they had, as a client of the restored server. */
async function returning(server: ServerProcess, person: Person, refreshToken: string): Promise<Person> {
  const returned = await createClient(server.url).login(person.user.username, person.password);
  returned.accessToken = person.accessToken;
  returned.refreshToken = refreshToken;
  return returned;
}

async function assertRestored(server: ServerProcess, scene: Scene, kept: Kept): Promise<void> {
  const { people, documents, site } = scene;
  const tokens = [people[0]?.refreshToken, people[1]?.refreshToken, kept.refreshTokens[2]];
  for (const [index, person] of people.entries()) {
    const returned = await returning(server, person, tokens[index] ?? "");
    assert.deepEqual(await seenBy(returned), kept.seen[index], "with the access token of before");
    await returned.refresh();
    await returned.refresh();
  }
  // They come back with the copies that they have, through the address that they know.
  site.proxy.open(server.port);
  const closes = scene.typists.map((typist) => typist.closes.length);
  const resets = (typist: Typist, i: number): boolean => typist.closes.slice(closes[i]).includes(RESET);
  for (const typist of scene.typists) if (!typist.connected) typist.connect();
  await until(() => scene.typists.every(resets), "every client is told to start over", 60_000);
  const { accessToken: token } = site.owner;
  for (const document of documents) {
    const fresh = openHocuspocus({
      name: "fresh",
      wsUrl: server.wsUrl,
      document,
      token,
      random: seeded(1),
    });
    await until(() => fresh.settled, "a new client is in");
    const text = fresh.text.toJSON();
    const words = text.match(/<[^<>]*>/gu) ?? [];
    assert.equal(new Set(words).size, words.length, "nothing is doubled");
    const lost = kept.promised.get(document)?.filter((word) => !word.removed && !text.includes(word.text));
    assert.deepEqual(lost, [], "what was acknowledged before the backup began is there");
    fresh.type();
    await until(() => fresh.settled && fresh.acknowledgedWords().length > 0, "it can type");
    fresh.destroy();
  }
  site.proxy.shut();
}

/** A place that a restore was cut short in, as long as the restore takes. */
async function halfFilled(t: TestContext, kind: Place["kind"], file: string): Promise<Place["env"]> {
  for (let lastsMs = 1_500; ; lastsMs /= 2) {
    const { env } = await newPlace(t, kind);
    const run = startAdmin(["restore", file], env);
    await delay(lastsMs * (0.5 + Math.random() / 2));
    run.kill();
    if ((await run.ended).code !== 0) return env;
  }
}

/** A browser that wrote into it after the backup keeps the epoch with its copy, and sees another one. */
async function assertNewEpoch(server: ServerProcess, { site, untouched }: Scene): Promise<void> {
  const { wsUrl } = server;
  const { accessToken: token } = site.owner;
  const client = openHocuspocus({ name: "fresh", wsUrl, document: untouched, token, random: seeded(1) });
  await until(() => client.settled && client.notices.length > 0, "a new client is in");
  assert.equal(client.text.toJSON(), "");
  const notice = CollabNotice.parse(client.notices[0]);
  assert.ok(notice.epoch > 2 ** 20, String(notice.epoch));
  client.destroy();
}

function drill(from: Place["kind"], into: readonly Place["kind"][]) {
  return async (t: TestContext): Promise<void> => {
    const place = await newPlace(t, from);
    const scene = await openScene(t, place);
    const kept = await keep(scene, place);
    await scene.site.server.kill("SIGKILL");
    scene.site.proxy.shut();
    for (const kind of into) {
      const env = await halfFilled(t, kind, kept.file);
      assert.match(await admin(["restore", kept.file], env), /^Restored deletions|^Restored documents/);
      const again = await startAdmin(["restore", kept.file], env).ended;
      assert.deepEqual([again.code, again.stdout], [1, ""], "what is not empty is refused");
      assert.match(again.stderr, /holds an installation already|is not empty/);
      const dir = env["DATA_DIR"];
      const server = await spawnServer({ env, ...(dir === undefined ? {} : { dir }) });
      t.after(() => server.kill("SIGKILL"));
      await assertRestored(server, scene, kept);
      await assertNewEpoch(server, scene);
      await server.kill("SIGKILL");
    }
    await rm(kept.file);
  };
}

describe("a backup of a server that is being typed into", () => {
  if (NO_MONGO === false) after(stopSharedMongo);

  const everywhere: readonly Place["kind"][] = NO_MONGO === false ? ["SQLite", "MongoDB"] : ["SQLite"];
  it(
    "[EP5] is restored from SQLite with everything in it, and merges no old copy",
    drill("SQLite", everywhere),
  );

  it(
    "[EP5] is restored from MongoDB with everything in it, and merges no old copy",
    { skip: NO_MONGO },
    drill("MongoDB", everywhere),
  );
});
