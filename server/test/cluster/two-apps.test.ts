import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it, type TestContext } from "node:test";
import { Failure, newId, User, type Bus, type Streams } from "@scriptorium/shared";
import { createMemoryHub, type MemoryHub } from "@scriptorium/shared/testing";
import { RestError, startServer, type Person, type TestServer } from "@scriptorium/server/testing";
import { WebSocket } from "ws";
import { openMemory } from "../../src/storage/adapters/memory/open.ts";
import type { Store } from "../../src/storage/store.ts";
import { until } from "../support/site.ts";

interface Pair {
  readonly a: TestServer;
  readonly b: TestServer;
  readonly hub: MemoryHub;
  readonly busB: Bus;
  /** What node A does with the stream of control events. */
  readonly control: { append: "whole" | "failing" | "lost" };
  /** Whether node A's store fails to remove rows. */
  readonly rows: { stay: boolean };
  readonly store: Store;
  /** The same person, with the same access token, at either node. */
  readonly at: (server: TestServer, person: Person) => There;
  /** A y-websocket of this person at B; resolves when it is in. */
  readonly open: (person: Person, document: string) => Promise<{ closed: Promise<number> }>;
  /** Waits for one look of B at the control events that begins from now on. */
  readonly nextLook: () => Promise<void>;
}

interface There {
  status(path?: string): Promise<number>;
  isAdmin(): Promise<boolean>;
}

const HOUR_MS = 3_600_000;

/** Two nodes on one store; B's sessions, once known, are known until somebody says otherwise. */
async function openPair(
  t: TestContext,
  options: { frozen?: boolean; reviewMs?: number; aheadMs?: number } = {},
): Promise<Pair> {
  const hub = createMemoryHub();
  const store = await openMemory();
  const control: Pair["control"] = { append: "whole" };
  const rows: Pair["rows"] = { stay: false };
  const documents: Store["documents"] = {
    ...store.documents,
    purgeRows: async (...call) => {
      if (rows.stay) throw new Failure("try_later");
      return store.documents.purgeRows(...call);
    },
  };
  const busB = hub.join();
  const [a, b] = await Promise.all([
    startServer({ store: { ...store, documents, streams: faulty(store.streams, control) }, bus: hub.join() }),
    startServer({
      store,
      bus: busB,
      ...(options.frozen === true ? { steady: () => 0 } : {}),
      now: () => Date.now() + (options.aheadMs ?? 0),
      // What these tests are about must not be found by the review that would find it anyway.
      reviewMs: options.reviewMs ?? HOUR_MS,
    }),
  ]);
  t.after(() => Promise.all([a.stop(), b.stop()]));
  return {
    a,
    b,
    hub,
    busB,
    control,
    rows,
    store,
    at: (server, { accessToken }) => {
      const get = (path: string) =>
        fetch(`${server.url}/api/v1${path}`, { headers: { authorization: `Bearer ${accessToken}` } });
      return {
        status: async (path = "/users/me") => (await get(path)).status,
        isAdmin: async () => User.parse(await (await get("/users/me")).json()).admin,
      };
    },
    async open({ accessToken }, document) {
      const socket = new WebSocket(`${b.wsUrl}/yjs/${document}?token=${accessToken}`);
      const closed = once(socket, "close").then(([code]) => Number(code));
      const first = once(socket, "message");
      // Sync step 1 with an empty state vector, as y-websocket begins.
      socket.once("open", () => socket.send(Uint8Array.of(0, 0, 1, 0)));
      await Promise.race([first, closed.then((code) => Promise.reject(new Error(`closed with ${code}`)))]);
      return { closed };
    },
    nextLook: async () => {
      const before = await metric(b, "control_polls");
      // The first of them may have begun before.
      await until(async () => (await metric(b, "control_polls")) >= before + 2, "it looks");
    },
  };
}

async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^scriptorium_${name} (\\d+)$`, "m").exec(text)?.[1]);
}

function faulty(streams: Streams, control: Pair["control"]): Streams {
  return {
    ...streams,
    append: async (stream, entry) => {
      if (stream !== "control" || control.append === "whole") return streams.append(stream, entry);
      if (control.append === "failing") throw new Failure("try_later");
      return "ok";
    },
  };
}

async function project(a: TestServer) {
  const owner = await a.register();
  const guest = await a.register();
  const { id } = await owner.createProject();
  const paper = await owner.createPaper(id);
  await owner.addMember(id, guest.user.id, "editor");
  return { owner, guest, id, paperId: paper.id, notes: `notes:${paper.id}` };
}

const WITH_AND_WITHOUT = [
  ["with the bus", (_pair: Pair) => undefined],
  ["with the bus cut", ({ hub, busB }: Pair) => hub.cut(busB)],
] as const;

describe("two nodes on one store", { timeout: 120_000 }, () => {
  for (const [how, prepare] of WITH_AND_WITHOUT) {
    it(`refuse a session that was ended on the other at every door, ${how}`, async (t) => {
      const pair = await openPair(t, { frozen: true });
      const { owner, notes } = await project(pair.a);
      prepare(pair);
      const phone = await pair.b.login(owner.user.username);
      const socket = await pair.open(phone, notes);
      const there = pair.at(pair.b, phone);
      assert.equal(await there.status(), 200, "known there, and frozen: nothing but an event can end it");
      const { items } = await owner.call<{ items: { id: string; current: boolean }[] }>(
        "GET",
        "/auth/sessions",
      );
      await owner.call("DELETE", `/auth/sessions/${items.find(({ current }) => !current)?.id}`);
      assert.equal(await pair.at(pair.a, phone).status(), 401);
      await pair.nextLook();
      assert.equal(await there.status(), 401);
      assert.equal(await socket.closed, 4401);
      assert.equal(await pair.at(pair.b, owner).status(), 200);
    });

    it(`end the other sessions of somebody with a new password, ${how}`, async (t) => {
      const pair = await openPair(t, { frozen: true });
      const { owner, notes } = await project(pair.a);
      prepare(pair);
      const phones = [await pair.b.login(owner.user.username), await pair.b.login(owner.user.username)];
      const sockets = await Promise.all(phones.map((phone) => pair.open(phone, notes)));
      const change = { oldPassword: owner.password, newPassword: "another long password" };
      await owner.call("PATCH", "/users/me", change);
      assert.deepEqual(await Promise.all(sockets.map(({ closed }) => closed)), [4401, 4401]);
      for (const phone of phones) assert.equal(await pair.at(pair.b, phone).status(), 401);
    });

    it(`let nobody stay who was removed from the project on the other, ${how}`, async (t) => {
      const pair = await openPair(t);
      const { owner, guest, id, notes } = await project(pair.a);
      prepare(pair);
      const [mine, theirs] = [await pair.open(owner, notes), await pair.open(guest, notes)];
      await owner.removeMember(id, guest.user.id);
      assert.equal(await pair.at(pair.b, guest).status(`/projects/${id}`), 404);
      assert.equal(await theirs.closed, 4403);
      assert.equal(await pair.at(pair.b, owner).status(`/projects/${id}`), 200);
      await owner.call("DELETE", `/projects/${id}`);
      assert.ok([4403, 4404].includes(await mine.closed));
    });

    it(`send everybody away from a document that was deleted or replaced on the other, ${how}`, async (t) => {
      const pair = await openPair(t);
      const { owner, id, notes, paperId } = await project(pair.a);
      prepare(pair);
      const deleted = await pair.open(owner, notes);
      const brief = await pair.open(owner, `brief:${id}`);
      await owner.call("DELETE", `/papers/${paperId}`);
      assert.equal(await deleted.closed, 4404);
      await pair.a.app.collab.replace(`brief:${id}`, Uint8Array.of(0, 0), owner.user.id);
      assert.equal(await brief.closed, 4410);
    });
  }

  it("begin at once on an empty store with the same keys, and one administrator that both know", async (t) => {
    const { a, b, at } = await openPair(t);
    const [one, other] = await Promise.all([a.register(), b.register()]);
    for (const person of [one, other])
      for (const server of [a, b]) assert.equal(await at(server, person).status(), 200);
    const jwks = await Promise.all(
      [a, b].map(async ({ url }) => (await fetch(`${url}/.well-known/jwks.json`)).text()),
    );
    assert.equal(jwks[0], jwks[1]);
    const said = await Promise.all(
      [one, other].flatMap((person) => [a, b].map((server) => at(server, person).isAdmin())),
    );
    assert.equal(said.filter(Boolean).length, 2, "one person, on both nodes");
    assert.deepEqual(said.slice(0, 2), [said[0], said[0]]);
  });

  it("know an administrator who came in at the other", async (t) => {
    const { a, b, at } = await openPair(t);
    const first = await a.register();
    assert.equal(await at(b, first).status(), 200);
    assert.equal(await at(b, first).isAdmin(), true);
  });

  it("fail a revocation that could not be announced, act on it here, and announce it when they can", async (t) => {
    const pair = await openPair(t, { frozen: true });
    const { owner, notes } = await project(pair.a);
    const phone = await pair.b.login(owner.user.username);
    const socket = await pair.open(phone, notes);
    pair.control.append = "failing";
    const headers = { authorization: `Bearer ${phone.accessToken}` };
    const logout = () => fetch(`${pair.a.url}/api/v1/auth/logout`, { method: "POST", headers });
    assert.equal((await logout()).status, 503);
    assert.equal((await logout()).status, 401, "it has ended here");
    assert.equal(await pair.at(pair.b, phone).status(), 200, "nobody could know there");
    pair.control.append = "whole";
    assert.equal(await socket.closed, 4401);
    assert.equal(await pair.at(pair.b, phone).status(), 401);
  });

  it("let a change of the password that was cut short be repeated as it was", async (t) => {
    const pair = await openPair(t, { frozen: true });
    const { owner, notes } = await project(pair.a);
    const phone = await pair.b.login(owner.user.username);
    const socket = await pair.open(phone, notes);
    const patch = (oldPassword: string, newPassword: string) =>
      owner.call("PATCH", "/users/me", { oldPassword, newPassword }).then(
        () => "ok",
        (error: unknown) => (error instanceof RestError ? error.problem.code : error),
      );
    const changed = "another long password";
    pair.control.append = "failing";
    assert.equal(await patch(owner.password, changed), "try_later");
    pair.control.append = "whole";
    assert.equal(await patch(owner.password, "a third long password"), "wrong_credentials");
    assert.equal(await patch(owner.password, changed), "ok");
    assert.equal(await socket.closed, 4401);
    await pair.b.login(owner.user.username, changed);
  });

  it("finish a deletion that could not be announced", async (t) => {
    const pair = await openPair(t);
    const { owner, guest, id, notes } = await project(pair.a);
    const socket = await pair.open(guest, notes);
    pair.control.append = "failing";
    await assert.rejects(owner.call("DELETE", `/projects/${id}`), RestError);
    assert.equal(await pair.at(pair.b, owner).status(`/projects/${id}`), 404);
    pair.control.append = "whole";
    assert.ok([4403, 4404].includes(await socket.closed));
  });

  it("look at everything again when they may have missed something", async (t) => {
    const pair = await openPair(t, { frozen: true });
    const { owner, guest, id, notes } = await project(pair.a);
    const phone = await pair.b.login(owner.user.username);
    const brief = `brief:${id}`;
    const sockets = [
      await pair.open(phone, notes),
      await pair.open(guest, notes),
      await pair.open(owner, brief),
    ];
    assert.equal(await pair.at(pair.b, phone).status(), 200);
    pair.control.append = "lost";
    await owner.removeMember(id, guest.user.id);
    await fetch(`${pair.a.url}/api/v1/auth/logout`, {
      method: "POST",
      headers: { authorization: `Bearer ${phone.accessToken}` },
    });
    await pair.a.app.collab.replace(brief, Uint8Array.of(0, 0), owner.user.id);
    assert.equal(await pair.at(pair.b, phone).status(), 200, "nobody was told");
    const head = await pair.store.streams.head("control");
    await pair.store.streams.append("control", { at: (head?.at ?? 0) + 1, entry: { of: "a newer version" } });
    assert.deepEqual(await Promise.all(sockets.map(({ closed }) => closed)), [4401, 4403, 4410]);
    assert.equal(await pair.at(pair.b, phone).status(), 401);
    assert.equal(await metric(pair.b, "control_missed"), 1);
  });

  it("send everybody away from a document whose end is in the store, though the rest of it failed", async (t) => {
    const pair = await openPair(t);
    const { owner, id } = await project(pair.a);
    const brief = await pair.open(owner, `brief:${id}`);
    pair.rows.stay = true;
    const replaced = pair.a.app.collab.replace(`brief:${id}`, Uint8Array.of(0, 0), owner.user.id);
    await assert.rejects(replaced, { code: "try_later" });
    assert.equal(await brief.closed, 4410);
  });

  for (const aheadMs of [HOUR_MS, -HOUR_MS])
    it(`have one truth with clocks ${aheadMs / HOUR_MS} h apart, and who signs in again at either is the same person`, async (t) => {
      const pair = await openPair(t, { aheadMs });
      const { owner, id, notes, paperId } = await project(pair.a);
      const there = await pair.b.login(owner.user.username);
      await there.refresh();
      await there.refresh();
      assert.deepEqual(
        (await there.projects()).items.map((each) => each.id),
        [id],
      );
      const paper = await there.createPaper(id, "made there");
      const { items } = await owner.call<{ items: { id: string }[] }>("GET", `/projects/${id}/papers`);
      assert.deepEqual(items.map((each) => each.id).toSorted(), [paper.id, paperId].toSorted());
      const socket = await pair.open(there, notes);
      await owner.call("DELETE", `/papers/${paperId}`);
      assert.equal(await socket.closed, 4404);
      await owner.refresh();
      assert.equal(await pair.at(pair.a, owner).status(), 200);
      assert.equal(
        await pair.at(pair.b, there).status(`/papers/${paper.id}`),
        200,
        "what is not deleted stays",
      );
    });

  it("find out by themselves what a node did not live to announce", async (t) => {
    const pair = await openPair(t, { reviewMs: 50 });
    const { owner, guest, id, notes } = await project(pair.a);
    const phone = await pair.b.login(owner.user.username);
    const sockets = [await pair.open(phone, notes), await pair.open(guest, notes)];
    const told = async () => (await pair.store.streams.head("control"))?.at;
    const before = await told();
    pair.control.append = "lost";
    await owner.removeMember(id, guest.user.id);
    await fetch(`${pair.a.url}/api/v1/auth/logout`, {
      method: "POST",
      headers: { authorization: `Bearer ${phone.accessToken}` },
    });
    assert.deepEqual(await Promise.all(sockets.map(({ closed }) => closed)), [4401, 4403]);
    assert.equal(await told(), before, "nobody was told");
  });

  it("are not ready while what others announce cannot be read, though nobody writes", async (t) => {
    const store = await openMemory();
    const reads = { fail: false };
    const streams: Streams = {
      ...store.streams,
      read: async (...call) => {
        if (reads.fail && call[0] === "control") throw new Failure("try_later");
        return store.streams.read(...call);
      },
    };
    const server = await startServer({ store: { ...store, streams }, bus: createMemoryHub().join() });
    t.after(() => server.stop());
    const is = (status: number) => async () => (await fetch(`${server.url}/readyz`)).status === status;
    assert.ok(await is(200)());
    reads.fail = true;
    await until(is(503), "it is not ready");
    reads.fail = false;
    await until(is(200), "it is ready again");
  });

  it("are ready without the bus, say that it is missing, and sign off when they stop", async (t) => {
    const pair = await openPair(t);
    const readyz = async () => {
      const response = await fetch(`${pair.b.url}/readyz`);
      return [response.status, await response.json()];
    };
    assert.deepEqual(await readyz(), [200, { status: "ready" }]);
    await until(async () => (await metric(pair.b, "nodes_others")) === 1, "they know each other");
    assert.equal(await metric(pair.b, "bus_up"), 1);
    pair.hub.cut(pair.busB);
    assert.deepEqual(await readyz(), [200, { status: "degraded", reason: "bus" }]);
    assert.deepEqual([await metric(pair.b, "bus_up"), await metric(pair.b, "degraded")], [0, 1]);
    assert.equal(await metric(pair.b, "ready"), 1);
    await until(async () => (await metric(pair.a, "nodes_cut_off")) === 1, "the other knows of it");
    pair.hub.heal(pair.busB);
    assert.deepEqual(await readyz(), [200, { status: "ready" }]);
    const rows = pair.store.open({ name: "nodes", unique: [], indexes: [] });
    assert.equal((await rows.find({ where: {}, limit: 9 })).length, 2);
    await pair.b.stop();
    assert.equal((await rows.find({ where: {}, limit: 9 })).length, 1);
    assert.equal(pair.busB.state, "down", "the bus is closed");
    await until(async () => (await metric(pair.a, "nodes_others")) === 0, "it is not missed");
  });

  it("is one node on a store of its own: nothing is registered and nothing announced", async (t) => {
    const store = await openMemory();
    const alone = await startServer({ store });
    t.after(() => alone.stop());
    const ada = await alone.register(`ada-${newId()}`);
    await ada.logout();
    const rows = store.open({ name: "nodes", unique: [], indexes: [] });
    assert.deepEqual(await rows.find({ where: {}, limit: 9 }), []);
    for (const stream of ["control", "installation"])
      assert.equal(await store.streams.head(stream), undefined);
  });
});
