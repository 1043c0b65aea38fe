import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type * as Y from "yjs";
import { NO_REDIS } from "../src/testing/redis.ts";
import { assertKept, sameContent } from "./support/audit.ts";
import { NO_MONGO_COMMAND } from "./support/mongo.ts";
import { seeded, type Random } from "./support/random.ts";
import { openSeveral, type ServerNode, type Several } from "./support/several.ts";
import { until } from "./support/site.ts";
import { openHocuspocus, openYWebsocket, type Typist } from "./support/typists.ts";

/** CHAOS_SEED repeats a run as far as its timing allows; CHAOS_SECONDS makes it longer than CI has time for. */
const { CHAOS_SEED, CHAOS_SECONDS } = process.env;
const SEED = Number(CHAOS_SEED ?? randomInt(2 ** 31));
const CHAOS_MS = Number(CHAOS_SECONDS ?? 120) * 1_000;
const NODES = 3;
const DOCUMENTS = 3;
const TYPING_MS = 120;
/** Long enough that a store's outage shows, short enough that there are many in a run. */
const TROUBLE_MS = 3_000;
const HEALED_MS = 90_000;

type Trouble = (several: Several, random: Random) => Promise<void>;

const aNode = (several: Several, random: Random): ServerNode => several.node(random.below(NODES));
const aWhile = (random: Random): Promise<void> => delay(200 + random.below(TROUBLE_MS));

/** Each does its harm, waits for a while, and makes it good again. */
const TROUBLES: Readonly<Record<string, Trouble>> = {
  "kill -9 of a node": async (several, random) => {
    const node = aNode(several, random);
    await node.process.kill("SIGKILL");
    await aWhile(random);
    await node.start();
  },
  "SIGTERM of a node": async (several, random) => {
    const node = aNode(several, random);
    const ended = await node.process.kill("SIGTERM");
    assert.equal(ended.code, 0, `a drain ended with ${JSON.stringify(ended)}: ${node.process.logs()}`);
    await node.start();
  },
  "kill -9 of Redis": async ({ redis }, random) => {
    await redis.kill();
    await aWhile(random);
    await redis.restart();
  },
  "a Redis that says nothing": async ({ redis }, random) => {
    redis.pause();
    await aWhile(random);
    redis.resume();
  },
  "one node cut off from Redis": async (several, random) => {
    const { toRedis } = aNode(several, random);
    toRedis.shut();
    await aWhile(random);
    toRedis.open(several.redis.port);
  },
  "one node's Redis stalls": async (several, random) => {
    const { toRedis } = aNode(several, random);
    toRedis.stall();
    await aWhile(random);
    toRedis.flow();
  },
  "one node's Redis is slow": async (several, random) => {
    const { toRedis } = aNode(several, random);
    toRedis.lag(50 + random.below(400));
    await aWhile(random);
    toRedis.lag(0);
  },
  "one node cut off from the store": async (several, random) => {
    const { toMongo } = aNode(several, random);
    toMongo.shut();
    await aWhile(random);
    toMongo.open(Number(new URL(several.mongo.url).port));
  },
  "one node's store stalls": async (several, random) => {
    const { toMongo } = aNode(several, random);
    toMongo.stall();
    await aWhile(random);
    toMongo.flow();
  },
  "answers of the store cut in the middle": async (several, random) => {
    aNode(several, random).toMongo.cut(1 + random.below(2_000));
  },
  "messages of Redis cut in the middle": async (several, random) => {
    aNode(several, random).toRedis.cut(1 + random.below(2_000));
  },
  "kill -9 of the store": async ({ mongo }, random) => {
    await mongo.kill();
    await aWhile(random);
    await mongo.restart();
  },
  "clients cut in the middle of a frame": async (several, random) => {
    several.door(random.below(NODES)).cut(random.chance(0.3) ? 0 : 1 + random.below(2_000));
  },
  "clients led to another node": async (several, random) => {
    const door = random.below(NODES);
    several.door(door).cut();
    several.lead(door, random.below(NODES));
  },
};

/** One trouble after the other until the time is over. */
async function makeTrouble(several: Several, random: Random): Promise<Map<string, number>> {
  const done = new Map<string, number>();
  const names = Object.keys(TROUBLES);
  const end = performance.now() + CHAOS_MS;
  const worker = async (own: Random): Promise<void> => {
    while (performance.now() < end) {
      const name = names[own.below(names.length)] ?? assert.fail();
      done.set(name, (done.get(name) ?? 0) + 1);
      await TROUBLES[name]?.(several, own);
      await delay(own.below(800));
    }
  };
  await worker(random.fork());
  return done;
}

async function openTypists(several: Several, random: Random): Promise<Map<string, Typist[]>> {
  const groups = new Map<string, Typist[]>();
  for (let i = 0; i < DOCUMENTS; i += 1) {
    const document = await several.notes();
    const typists = several.doors.flatMap(({ wsUrl }, place) => {
      const as = (name: string) => ({
        name: `${name}${i}${place}`,
        wsUrl,
        document,
        token: several.owner.accessToken,
        random: random.fork(),
      });
      return [openHocuspocus(as("h")), openYWebsocket(as("y"))];
    });
    groups.set(document, typists);
    several.after(() => typists.forEach((typist) => typist.destroy()));
  }
  return groups;
}

/** All well again: everybody is settled and equal, on every node. */
async function healed(several: Several, groups: ReadonlyMap<string, readonly Typist[]>): Promise<void> {
  for (const [document, typists] of groups) {
    await until(
      () => typists.every(({ settled }) => settled),
      () => describeAll(typists),
      HEALED_MS,
    );
    await until(
      async () => {
        const [first, ...others] = typists;
        if (first === undefined || !others.every(({ doc }) => sameContent(doc, first.doc))) return false;
        for (const node of several.nodes) {
          const found = await several.tryRead(node, document);
          if (found === "later" || !sameContent(found, first.doc)) return false;
        }
        return true;
      },
      () => `all replicas of ${document} are equal: ${describeAll(typists)}`,
      HEALED_MS,
    );
  }
}

function describeAll(typists: readonly Typist[]): string {
  return typists
    .map(
      ({ name, connected, settled, closes, text }) =>
        `${name} ${connected ? "connected" : "away"} ${settled ? "settled" : "unsettled"} ${text.length} chars, closes ${closes.slice(-5).join()}`,
    )
    .join("; ");
}

/** Their authors were there all the time to bring again what was not acknowledged. */
function assertComplete(stored: Y.Doc, typists: readonly Typist[]): void {
  const text = stored.getText("md").toJSON();
  const wrong = typists.flatMap(({ words }) =>
    words.filter((word) => text.includes(word.text) === word.removed),
  );
  assert.deepEqual(
    wrong.map((word) => word.text),
    [],
  );
}

async function run(t: TestContext): Promise<void> {
  t.diagnostic(`seed ${SEED}`);
  const random = seeded(SEED);
  const several = await openSeveral(t, { count: NODES });
  const groups = await openTypists(several, random);
  const typists = [...groups.values()].flat();
  await until(() => typists.every(({ settled }) => settled), "everybody is in");
  for (const typist of typists) typist.startTyping(TYPING_MS);
  const done = await makeTrouble(several, random.fork());
  for (const typist of typists) typist.stopTyping();
  // Whoever has still a few bytes to go before its cut is cut now; and every door leads to a node that is there.
  for (const door of several.doors) door.cut();
  await healed(several, groups);

  for (const node of several.nodes) {
    assert.doesNotMatch(node.process.logs(), /"level":60|unhandled/);
    // Drained and not killed: y-websocket's clients cannot know what is committed.
    assert.equal((await node.process.kill("SIGTERM")).code, 0);
  }
  const stored = await several.readFresh([...groups.keys()]);
  for (const [document, group] of groups) {
    const doc = stored.get(document) ?? assert.fail();
    assertKept(doc, group);
    assertComplete(doc, group);
    for (const typist of group)
      assert.ok(sameContent(typist.doc, doc), `${typist.name} is equal to the store`);
  }
  const acknowledged = typists.reduce((sum, typist) => sum + typist.acknowledgedWords().length, 0);
  const closes = typists.reduce((sum, typist) => sum + typist.closes.length, 0);
  t.diagnostic(`${acknowledged} words acknowledged, ${closes} sockets closed`);
  for (const [name, times] of done) t.diagnostic(`${times} x ${name}`);
}

describe("chaos on three nodes", { skip: NO_MONGO_COMMAND || NO_REDIS }, () => {
  it("[CL2] [CL3] [CL4] loses no acknowledged edit and doubles none, in any replica and in the store", run);
});
