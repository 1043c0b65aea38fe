import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { CollabNotice, type Project } from "@scriptorium/shared";
import { startServer, type Person } from "@scriptorium/server/testing";
import jwt from "jsonwebtoken";
import { z } from "zod";
import { ACCESS_TOKEN_SECONDS, createAccessTokens } from "../src/identity/access-tokens.ts";
import { createKeys } from "../src/identity/keys.ts";
import { openSqlite } from "../src/storage/adapters/sqlite/open.ts";
import { allEqual, converge, sameContent } from "./support/audit.ts";
import { seeded } from "./support/random.ts";
import { openSite, until, type Site } from "./support/site.ts";
import { openHocuspocus, openYWebsocket, type Typist } from "./support/typists.ts";

/** Rights that end while people type, through REST, on the real process and with the real clients of both dialects. */

const TYPE_MS = 50;

interface Scene {
  readonly site: Site;
  readonly project: Project;
  readonly document: string;
  /** The owner's own client, which nothing may disturb. */
  readonly owner: Typist;
  /** A client of each dialect, signed in as this person, typing. */
  typing(person: Person, name: string): Promise<Typist[]>;
  /** Does something over REST and tells how long its effect took to show; nothing depends on the number. */
  measure(what: string, act: () => Promise<unknown>, effect: () => boolean): Promise<void>;
}

async function openScene(t: TestContext): Promise<Scene> {
  const site = await openSite(t);
  const project = await site.owner.createProject();
  const document = await site.notes(project.id);
  const random = seeded(5);
  const { wsUrl } = site.proxy;
  const as = (person: Person, name: string) => ({
    name,
    wsUrl,
    document,
    token: person.accessToken,
    random: random.fork(),
  });
  const keep = <T extends Typist>(typist: T): T => {
    site.after(() => typist.destroy());
    return typist;
  };
  const owner = keep(openHocuspocus(as(site.owner, "owner")));
  await until(() => owner.settled, "the owner is in");
  return {
    site,
    project,
    document,
    owner,
    typing: async (person, name) => {
      const typists = [
        keep(openHocuspocus(as(person, `${name}h`))),
        keep(openYWebsocket(as(person, `${name}y`))),
      ];
      await until(() => typists.every(({ settled }) => settled), `${name} is in`);
      for (const typist of typists) typist.startTyping(TYPE_MS);
      await until(
        () =>
          typists.every(({ words }) =>
            shown(
              owner,
              words.slice(-4).map(({ text }) => text),
            ),
          ),
        `what ${name} types is seen`,
      );
      return typists;
    },
    measure: async (what, act, effect) => {
      const began = performance.now();
      await act();
      const answered = performance.now();
      await until(effect, what);
      t.diagnostic(
        `${what}: ${Math.round(performance.now() - began)} ms after the request, ` +
          `${Math.round(performance.now() - answered)} ms after its answer`,
      );
    },
  };
}

const shown = (typist: Typist, words: readonly string[]): boolean => {
  const text = typist.text.toJSON();
  return words.some((word) => text.includes(word));
};

const lastClose = (typist: Typist): number | undefined => typist.closes.at(-1);

function readOnly(typist: Typist): string | null | undefined {
  const last = typist.notices
    .map((notice) => CollabNotice.parse(notice))
    .findLast((notice) => notice.type === "state");
  return last?.readOnly;
}

/** What these clients type from now on stays with them: it is neither shown nor stored. */
async function assertCutOff(scene: Scene, typists: readonly Typist[]): Promise<void> {
  const { site, owner, document } = scene;
  const from = typists.map(({ words }) => words.length);
  await until(() => typists.every(({ words }, i) => words.length > (from[i] ?? 0) + 5), "they go on typing");
  const after = typists.flatMap(({ words }, i) => words.slice(from[i]).map(({ text }) => text));
  // The owner's edit comes after theirs and is acknowledged: theirs would be there by then.
  owner.type();
  await until(() => owner.settled, "the owner's edit is saved");
  const stored = (await site.read(document)).getText("md").toJSON();
  assert.deepEqual(
    after.filter((word) => stored.includes(word) || owner.text.toJSON().includes(word)),
    [],
  );
}

async function assertUndisturbed({ site, owner }: Scene): Promise<void> {
  owner.type();
  await until(() => owner.settled, "the owner's edit is saved");
  assert.deepEqual(owner.closes, []);
  await allEqual(site, [owner]);
}

describe("revocation on open sockets", () => {
  it("[AC4] ends the sockets of a session that is logged out, and only those", async (t) => {
    const scene = await openScene(t);
    const guest = await scene.site.register();
    await scene.site.owner.addMember(scene.project.id, guest.user.id, "editor");
    const phone = await scene.site.login(guest);
    const [laptopClients, phoneClients] = [
      await scene.typing(guest, "laptop"),
      await scene.typing(phone, "phone"),
    ];
    await scene.measure(
      "logout",
      () => phone.logout(),
      () => phoneClients.every((typist) => typist.closes.includes(4401)),
    );
    await assertCutOff(scene, phoneClients);
    assert.ok(phoneClients.every(({ connected }) => !connected));
    assert.ok(laptopClients.every(({ closes, connected }) => closes.length === 0 && connected));
    const { items } = await guest.call<{ items: { id: string; current: boolean }[] }>(
      "GET",
      "/auth/sessions",
    );
    const own = items.find(({ current }) => current);
    const desk = await scene.site.login(guest);
    await scene.measure(
      "DELETE /auth/sessions/:id from another session",
      () => desk.call("DELETE", `/auth/sessions/${own?.id}`),
      () => laptopClients.every((typist) => typist.closes.includes(4401)),
    );
    await assertCutOff(scene, laptopClients);
    await assertUndisturbed(scene);
  });

  it("[AC3] [AC2] downgrades and upgrades in place, and what was typed meanwhile arrives in the end", async (t) => {
    const scene = await openScene(t);
    const { site, project, owner } = scene;
    const guest = await site.register();
    await site.owner.addMember(project.id, guest.user.id, "editor");
    const [told, untold] = await scene.typing(guest, "guest");
    assert.ok(told !== undefined && untold !== undefined);
    for (const role of ["viewer", "commenter"] as const) {
      await scene.measure(
        `editor to ${role}`,
        () => site.owner.setRole(project.id, guest.user.id, role),
        // y-websocket's client goes on typing, and its protocol has no other way to refuse.
        () => readOnly(told) === "role" && lastClose(untold) === 4403,
      );
      assert.ok(told.connected, "in place");
      await assertCutOff(scene, [told, untold]);
      assert.ok(!told.settled, "what is not saved is not said to be");
      owner.type();
      const word = owner.words.findLast(({ removed }) => !removed)?.text ?? "";
      await until(() => shown(told, [word]), "a reader goes on reading");
      await scene.measure(
        `${role} to editor`,
        () => site.owner.setRole(project.id, guest.user.id, "editor"),
        () => readOnly(told) === null,
      );
      // 4403 is final for y-websocket's client: its person opens the page again.
      openAgain(untold);
      await converge(site, [owner, told, untold]);
      assert.deepEqual(told.closes, [], "never closed");
      for (const typist of [told, untold]) typist.startTyping(TYPE_MS);
    }
    for (const typist of [told, untold]) typist.stopTyping();
    await assertUndisturbed(scene);
  });

  it("[AC3] keeps a reader of y-websocket's dialect that does not type, and lets it type again", async (t) => {
    const scene = await openScene(t);
    const { site, project, owner } = scene;
    const guest = await site.register();
    await site.owner.addMember(project.id, guest.user.id, "editor");
    const [told, quiet] = await scene.typing(guest, "guest");
    assert.ok(told !== undefined && quiet !== undefined);
    quiet.stopTyping();
    await converge(site, [owner, told, quiet]);
    await site.owner.setRole(project.id, guest.user.id, "viewer");
    await until(() => readOnly(told) === "role", "the downgrade is told");
    owner.type();
    await until(() => sameContent(owner.doc, quiet.doc), "the reader sees the owner's edit");
    await site.owner.setRole(project.id, guest.user.id, "editor");
    await until(() => readOnly(told) === null, "the upgrade is told");
    quiet.type();
    await converge(site, [owner, told, quiet]);
    assert.deepEqual([told.closes, quiet.closes], [[], []]);
  });

  it("[AC4] closes the sockets of a member who is removed with 4403", async (t) => {
    const scene = await openScene(t);
    const { site, project } = scene;
    const guest = await site.register();
    await site.owner.addMember(project.id, guest.user.id, "editor");
    const clients = await scene.typing(guest, "guest");
    await scene.measure(
      "removal from the project",
      () => site.owner.removeMember(project.id, guest.user.id),
      () => clients.every((typist) => typist.closes.includes(4403)),
    );
    await assertCutOff(scene, clients);
    assert.ok(clients.every(({ connected }) => !connected));
    await assertUndisturbed(scene);
    await site.owner.addMember(project.id, guest.user.id, "editor");
    for (const typist of clients) openAgain(typist);
    await converge(site, [scene.owner, ...clients]);
  });

  it("[EP4] closes the sockets of a deleted paper and of a deleted project with 4404", async (t) => {
    const scene = await openScene(t);
    const { site, project, document } = scene;
    const guest = await site.register();
    await site.owner.addMember(project.id, guest.user.id, "editor");
    const clients = [scene.owner, ...(await scene.typing(guest, "guest"))];
    const paperId = document.slice("notes:".length);
    await scene.measure(
      "deletion of the paper",
      () => site.owner.call("DELETE", `/papers/${paperId}`),
      () => clients.every((typist) => typist.closes.includes(4404)),
    );
    await assert.rejects(site.read(document), /answered 404/);
    // Whoever still types must not bring it back, not even over a restart.
    await until(() => clients.slice(1).every(({ connected }) => !connected), "nobody is in again");
    await site.server.kill("SIGKILL");
    await site.start();
    site.letIn();
    await assert.rejects(site.read(document), /answered 404/);

    const other = await site.notes(project.id);
    const typist = openHocuspocus({
      name: "last",
      wsUrl: site.proxy.wsUrl,
      document: other,
      token: guest.accessToken,
      random: seeded(9),
    });
    site.after(() => typist.destroy());
    typist.startTyping(TYPE_MS);
    await until(() => typist.acknowledgedWords().length > 3, "acknowledgements come");
    await scene.measure(
      "deletion of the project",
      () => site.owner.call("DELETE", `/projects/${project.id}`),
      () => typist.closes.includes(4404) || typist.closes.includes(4403),
    );
    await assert.rejects(site.read(other), /answered 404/);
  });
});

/** What a person does whose page says that it was shut out. */
function openAgain(typist: Typist): void {
  typist.connect();
}

describe("access tokens that expire on open sockets", () => {
  it("[AC5] close the socket with 4401, unless the client shows a newer one when it is asked", async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "scriptorium-expiry-"));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const store = await openSqlite({ dir, log });
    const server = await startServer({ store });
    t.after(() => server.stop());
    const owner = await server.register();
    const project = await owner.createProject();
    const document = `notes:${(await owner.createPaper(project.id)).id}`;
    const { sub: userId, sid: sessionId } = Claims.parse(jwt.decode(owner.accessToken));
    /** A genuine token of this session that was issued so long ago that it ends soon. */
    const endingIn = (seconds: number): Promise<string> => {
      const now = () => Date.now() - (ACCESS_TOKEN_SECONDS - seconds) * 1_000;
      const keys = createKeys({ streams: store.streams, now: Date.now });
      return createAccessTokens({ keys, now }).issue({ userId, sessionId });
    };

    const [ending, fresh] = [await endingIn(6), owner.accessToken];
    let shownTokens = 0;
    const as = (name: string) => ({ name, wsUrl: server.wsUrl, document, random: seeded(name.length) });
    const renewing = openHocuspocus({
      ...as("renewing"),
      token: () => (shownTokens++ === 0 ? ending : fresh),
    });
    const stale = openHocuspocus({ ...as("stale"), token: ending });
    const bare = openYWebsocket({ ...as("bare"), token: ending });
    const ticketed = openYWebsocket({ ...as("ticketed"), token: await owner.ticket() });
    const all = [renewing, stale, bare, ticketed];
    t.after(() => all.forEach((typist) => typist.destroy()));
    await until(() => all.every(({ settled }) => settled), "everybody is in");
    for (const typist of all) typist.startTyping(TYPE_MS);
    await until(() => stale.closes[0] === 4401 && bare.closes[0] === 4401, "the stale ones are closed");
    assert.equal(shownTokens, 2, "it was asked for a newer token, once");
    const before = renewing.acknowledgedWords().length;
    await until(() => renewing.acknowledgedWords().length > before + 40, "the other goes on typing");
    assert.deepEqual([renewing.closes, ticketed.closes], [[], []]);
    assert.ok(!stale.connected && !bare.connected);
  });
});

const Claims = z.object({ sub: z.string(), sid: z.string() });
