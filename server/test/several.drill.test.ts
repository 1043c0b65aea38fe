import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient, type Person } from "@scriptorium/server/testing";
import { NO_MONGO_COMMAND } from "./support/mongo.ts";
import { NO_REDIS } from "../src/testing/redis.ts";
import { assertKept, sameContent } from "./support/audit.ts";
import { seeded } from "./support/random.ts";
import { openSeveral, type Several } from "./support/several.ts";
import { until } from "./support/site.ts";
import { openHocuspocus, openYWebsocket, type Typist } from "./support/typists.ts";

/** One client of each dialect at each door. */
function openTypists(several: Several, document: string): Typist[] {
  const random = seeded(7);
  const typists = several.doors.flatMap(({ wsUrl }, i) => {
    const as = (name: string) => ({
      name: `${name}${i}`,
      wsUrl,
      document,
      token: several.owner.accessToken,
      random: random.fork(),
    });
    return [openHocuspocus(as("h")), openYWebsocket(as("y"))];
  });
  several.after(() => typists.forEach((typist) => typist.destroy()));
  return typists;
}

const settled = (typists: readonly Typist[]): Promise<void> =>
  until(() => typists.every((typist) => typist.settled), "everybody is settled");

const equal = (typists: readonly Typist[], what: string): Promise<void> =>
  until(() => typists.every(({ doc }) => sameContent(doc, typists[0]?.doc ?? doc)), what, 30_000);

describe("three server processes on MongoDB and Redis", { skip: NO_MONGO_COMMAND || NO_REDIS }, () => {
  it("[CL2] have one document in common, over both protocols, on every node's REST and in the store", async (t) => {
    const several = await openSeveral(t);
    const document = await several.notes();
    const typists = openTypists(several, document);
    await settled(typists);
    for (let round = 0; round < 20; round += 1) for (const typist of typists) typist.type();
    await settled(typists);
    await equal(typists, "all replicas are equal");
    for (const node of several.nodes)
      assert.ok(sameContent(await several.read(node, document), typists[0]?.doc ?? assert.fail()));
    const stored = await several.readFresh([document]);
    assertKept(stored.get(document) ?? assert.fail(), typists);
  });

  it("[FX4] [CL3] go on without Redis, say so, and converge; and again when it is back", async (t) => {
    const several = await openSeveral(t);
    const document = await several.notes();
    const typists = openTypists(several, document);
    await settled(typists);
    await several.redis.kill();
    const readiness = async (): Promise<string> =>
      JSON.stringify(await (await fetch(`${several.node(1).process.url}/readyz`)).json());
    await until(async () => (await readiness()).includes("degraded"), "readiness says degraded");
    for (const typist of typists) typist.type();
    await settled(typists);
    await equal(typists, "all replicas are equal without Redis");
    await several.redis.restart();
    await until(async () => !(await readiness()).includes("degraded"), "readiness says nothing any more");
    for (const typist of typists) typist.type();
    await equal(typists, "all replicas are equal with Redis again");
    for (const node of several.nodes) assert.equal(node.process.logs().includes("unhandled"), false);
  });

  it("[AC3] [AC4] [FX4] act on what was revoked at another node, with Redis and without it", async (t) => {
    const several = await openSeveral(t);
    const { owner } = several;
    const project = await owner.createProject();
    const document = `notes:${(await owner.createPaper(project.id)).id}`;
    const random = seeded(11);
    const elsewhere = createClient(several.node(1).process.url);
    const open = (name: string, { accessToken: token }: Person) => {
      const options = { name, wsUrl: several.door(1).wsUrl, document, token, random: random.fork() };
      const typist = openHocuspocus(options);
      several.after(() => typist.destroy());
      return typist;
    };
    /** The session that was begun last, of those that are not this one. */
    const otherSession = async (): Promise<string> => {
      const path = "/auth/sessions";
      const { items } = await owner.call<{ items: { id: string; current: boolean }[] }>("GET", path);
      return items.find(({ current }) => !current)?.id ?? assert.fail("there is no other session");
    };
    /** Somebody becomes a reader, somebody is removed, a session is ended: all are at node 1, and are told of at node 0. */
    const revoke = async (how: string): Promise<void> => {
      const [reader, removed] = [await elsewhere.register(), await elsewhere.register()];
      for (const { user } of [reader, removed]) await owner.addMember(project.id, user.id, "editor");
      const phone = await elsewhere.login(owner.user.username);
      const [reads, leaves, ends] = [open("r", reader), open("l", removed), open("e", phone)];
      await settled([reads, leaves, ends]);
      const session = await otherSession();
      const acts = async (what: string, change: Promise<unknown>, seen: () => boolean): Promise<void> => {
        const began = performance.now();
        await change;
        // The review of everybody would find it too, but only after 30 s.
        await until(seen, `${what}, ${how}`, 15_000);
        t.diagnostic(`${what}, ${how}: ${Math.round(performance.now() - began)} ms from the request on`);
      };
      await acts("a role", owner.setRole(project.id, reader.user.id, "viewer"), () =>
        JSON.stringify(reads.notices).includes('"role"'),
      );
      await acts("a removal", owner.removeMember(project.id, removed.user.id), () =>
        leaves.closes.includes(4403),
      );
      await acts("the end of a session", owner.call("DELETE", `/auth/sessions/${session}`), () =>
        ends.closes.includes(4401),
      );
      assert.deepEqual(reads.closes, []);
      for (const typist of [reads, leaves, ends]) typist.destroy();
    };
    await revoke("with Redis");
    await several.redis.kill();
    const lacking = async (): Promise<boolean> =>
      (await (await fetch(`${several.node(1).process.url}/readyz`)).text()).includes("degraded");
    await until(lacking, "the node knows that Redis is away");
    await revoke("without Redis");
  });

  it("[CL7] do not show the people of a node that was killed any longer than its lease", async (t) => {
    const several = await openSeveral(t, { count: 2 });
    const document = await several.notes();
    const [ada, bo] = [0, 1].map((door) => {
      const { wsUrl } = several.door(door);
      const { accessToken: token } = several.owner;
      const typist = openHocuspocus({ name: `p${door}`, wsUrl, document, token, random: seeded(door) });
      several.after(() => typist.destroy());
      return typist;
    });
    const [there, here] = [ada?.provider.awareness, bo?.provider.awareness];
    assert.ok(ada && bo && there && here);
    await settled([ada, bo]);
    there.setLocalStateField("cursor", 1);
    await until(() => here.getStates().has(there.clientID), "bo sees ada");
    const began = performance.now();
    const dead = several.node(0).process.kill("SIGKILL");
    ada.destroy();
    await dead;
    // y-protocols itself takes who is silent for gone, but only after 30 s.
    await until(() => !here.getStates().has(there.clientID), "she is gone", 20_000);
    t.diagnostic(`gone after ${Math.round(performance.now() - began)} ms`);
  });
});
