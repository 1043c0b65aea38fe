import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type * as Y from "yjs";
import { NO_REDIS } from "../src/testing/redis.ts";
import { assertKept, sameContent } from "./support/audit.ts";
import { NO_MONGO_COMMAND } from "./support/mongo.ts";
import { seeded, type Random } from "./support/random.ts";
import type { Proxy } from "./support/proxy.ts";
import { openSeveral, type ServerNode, type Several } from "./support/several.ts";
import { until } from "./support/site.ts";
import { openHocuspocus, openYWebsocket, type Typist } from "./support/typists.ts";

/** CHAOS_SEED repeats a run as far as its timing allows; CHAOS_SECONDS makes it longer than CI has time for. */
const { CHAOS_SEED, CHAOS_SECONDS } = process.env;
const SEED = Number(CHAOS_SEED ?? randomInt(2 ** 31));
const CHAOS_MS = Number(CHAOS_SECONDS ?? 120) * 1_000;
const NODES = 3;
const DOCUMENTS = 3;
const TYPING_MS = 200;
/** Long enough that a store's outage shows, short enough that there are many in a run. */
const TROUBLE_MS = 3_000;
/** Until documents of a node without a store are read-only, and its lease and that of its database's connections are over. */
const LONG_MS = 12_000;
const HEALED_MS = 90_000;
/** Troubles at the same time, so that a drain meets a dead Redis and a start a dead store. */
const AT_ONCE = 2;
/** A start may meet a store or a Redis that is away. */
const STARTS = 30;

/** What there is to harm. */
interface Scene {
  readonly several: Several;
  readonly crowd: Crowd;
}

/** False when it cannot be done now, because another trouble has what it needs. */
type Trouble = (scene: Scene, random: Random) => Promise<boolean>;

const aWhile = (random: Random): Promise<void> => delay(200 + random.below(TROUBLE_MS));

/** What only one trouble at a time can have: a process that is dead or paused. */
const taken = new Set<string>();

async function having(what: string, work: () => Promise<void>): Promise<boolean> {
  if (taken.has(what)) return false;
  taken.add(what);
  try {
    await work();
    return true;
  } finally {
    taken.delete(what);
  }
}

/** One node, by its way to Redis or to the store. */
function onTheWay(
  way: "toRedis" | "toMongo",
  work: (proxy: Proxy, several: Several, random: Random) => Promise<void>,
): Trouble {
  return ({ several }, random) => {
    const node = several.node(random.below(NODES));
    return having(`${way} ${node.place}`, () => work(node[way], several, random));
  };
}

/** One node's process ends, by what `work` does to it, and is started again. */
function onAProcess(work: (node: ServerNode, scene: Scene) => Promise<void>): Trouble {
  return (scene, random) => {
    const node = scene.several.node(random.below(NODES));
    return having(`process ${node.place}`, async () => {
      await work(node, scene);
      await aWhile(random);
      await startAgain(node);
    });
  };
}

async function startAgain(node: ServerNode): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await node.start();
    } catch (error) {
      if (attempt === STARTS) throw error;
    }
    await delay(500);
  }
}

const mongoPort = ({ mongo }: Several): number => Number(new URL(mongo.url).port);

/** Each does its harm, waits for a while, and makes it good again. */
const TROUBLES: Readonly<Record<string, Trouble>> = {
  "kill -9 of a node": onAProcess(async (node) => {
    await node.process.kill("SIGKILL");
  }),
  // Who is not there any more cannot bring again what the node had told them was saved.
  "kill -9 of a node, and all its people go with it": onAProcess(async (node, { crowd }) => {
    const dead = node.process.kill("SIGKILL");
    const doors = crowd.bury(node.place);
    await dead;
    crowd.replace(doors);
  }),
  "SIGTERM of a node": onAProcess(async (node) => {
    const { process } = node;
    const ended = await process.kill("SIGTERM");
    // With a store that is away it cannot commit what is left, and says so; nobody was told that this is saved.
    const inTime = !process.logs().includes("not everything ended in time");
    assert.equal(
      ended.code,
      inTime ? 0 : 1,
      `a drain ended with ${JSON.stringify(ended)}: ${process.logs()}`,
    );
  }),
  "kill -9 of Redis": ({ several: { redis } }, random) =>
    having("redis", async () => {
      await redis.kill();
      await aWhile(random);
      await redis.restart();
    }),
  "a Redis that says nothing": ({ several: { redis } }, random) =>
    having("redis", async () => {
      redis.pause();
      await aWhile(random);
      redis.resume();
    }),
  "one node cut off from Redis": onTheWay("toRedis", async (proxy, { redis }, random) => {
    proxy.shut();
    await aWhile(random);
    proxy.open(redis.port);
  }),
  "one node's Redis stalls": onTheWay("toRedis", async (proxy, _, random) => {
    proxy.stall();
    await aWhile(random);
    proxy.flow();
  }),
  "one node's Redis is slow": onTheWay("toRedis", async (proxy, _, random) => {
    proxy.lag(50 + random.below(400));
    await aWhile(random);
    proxy.lag(0);
  }),
  "one node cut off from the store": onTheWay("toMongo", async (proxy, several, random) => {
    proxy.shut();
    await aWhile(random);
    proxy.open(mongoPort(several));
  }),
  "one node cut off from the store until it lets nobody write": onTheWay(
    "toMongo",
    async (proxy, several) => {
      proxy.shut();
      await delay(LONG_MS);
      proxy.open(mongoPort(several));
    },
  ),
  "one node's store stalls": onTheWay("toMongo", async (proxy, _, random) => {
    proxy.stall();
    await aWhile(random);
    proxy.flow();
  }),
  "answers of the store cut in the middle": onTheWay("toMongo", async (proxy, _, random) => {
    proxy.cut(1 + random.below(2_000));
  }),
  "messages of Redis cut in the middle": onTheWay("toRedis", async (proxy, _, random) => {
    proxy.cut(1 + random.below(2_000));
  }),
  "kill -9 of the store": ({ several: { mongo } }, random) =>
    having("mongo", async () => {
      await mongo.kill();
      await aWhile(random);
      await mongo.restart();
    }),
  "clients cut in the middle of a frame": async ({ several }, random) => {
    several.door(random.below(NODES)).cut(random.chance(0.3) ? 0 : 1 + random.below(2_000));
    return true;
  },
  "clients led to another node": async ({ several }, random) => {
    const door = random.below(NODES);
    several.door(door).cut();
    several.lead(door, random.below(NODES));
    return true;
  },
};

/** Every trouble comes in every turn, in an order of its own. */
function shuffled(random: Random): string[] {
  const names = Object.keys(TROUBLES);
  for (let left = names.length - 1; left > 0; left -= 1) {
    const other = random.below(left + 1);
    [names[left], names[other]] = [names[other] ?? "", names[left] ?? ""];
  }
  return names;
}

/** Until the time is over, and every trouble has been there. */
async function makeTrouble(scene: Scene, random: Random): Promise<Map<string, number>> {
  const done = new Map<string, number>();
  let names: string[] = [];
  const end = performance.now() + CHAOS_MS;
  const worker = async (own: Random): Promise<void> => {
    while (performance.now() < end) {
      if (names.length === 0) names = shuffled(own);
      const name = names.shift() ?? assert.fail();
      if ((await TROUBLES[name]?.(scene, own)) === true) done.set(name, (done.get(name) ?? 0) + 1);
      else names.push(name);
      await delay(own.below(800));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, () => worker(random.fork())));
  return done;
}

/** Who types, and who did until a node took them along. */
interface Crowd {
  readonly documents: readonly string[];
  readonly living: readonly Typist[];
  readonly dead: readonly Typist[];
  /** All at the doors that lead to this node end, in this turn; those doors. */
  bury(node: number): readonly number[];
  /** Others at these doors, who type as well. */
  replace(doors: readonly number[]): void;
}

async function openCrowd(several: Several, random: Random): Promise<Crowd> {
  const documents: string[] = [];
  for (let i = 0; i < DOCUMENTS; i += 1) documents.push(await several.notes());
  const dead: Typist[] = [];
  let living: { typist: Typist; door: number }[] = [];
  let generation = 0;
  const enter = (door: number): void => {
    const { wsUrl } = several.door(door);
    for (const [i, document] of documents.entries()) {
      const as = (name: string) => ({
        name: `${name}${i}${door}g${generation}`,
        wsUrl,
        document,
        token: several.owner.accessToken,
        random: random.fork(),
      });
      for (const typist of [openHocuspocus(as("h")), openYWebsocket(as("y"))]) living.push({ typist, door });
    }
  };
  for (const door of several.doors.keys()) enter(door);
  several.after(() => living.forEach(({ typist }) => typist.destroy()));
  return {
    documents,
    get living() {
      return living.map(({ typist }) => typist);
    },
    dead,
    bury(node) {
      const doors = [...several.doors.keys()].filter((door) => several.leadsTo(door) === node);
      const gone = living.filter(({ door }) => doors.includes(door));
      for (const { typist } of gone) typist.destroy();
      dead.push(...gone.map(({ typist }) => typist));
      living = living.filter((each) => !gone.includes(each));
      return doors;
    },
    replace(doors) {
      generation += 1;
      const before = living.length;
      for (const door of doors) enter(door);
      for (const { typist } of living.slice(before)) typist.startTyping(TYPING_MS);
    },
  };
}

/** All well again: everybody is settled and equal, on every node. */
async function healed(several: Several, crowd: Crowd): Promise<void> {
  for (const [document, typists] of Map.groupBy(crowd.living, (typist) => typist.document)) {
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
  const crowd = await openCrowd(several, random);
  await until(() => crowd.living.every(({ settled }) => settled), "everybody is in");
  for (const typist of crowd.living) typist.startTyping(TYPING_MS);
  const done = await makeTrouble({ several, crowd }, random.fork());
  for (const typist of crowd.living) typist.stopTyping();
  // Whoever has still a few bytes to go before its cut is cut now; and every door leads to a node that is there.
  for (const door of several.doors) door.cut();
  await healed(several, crowd);

  for (const node of several.nodes) {
    assert.doesNotMatch(node.process.logs(), /"level":60|unhandled/);
    // Drained and not killed: y-websocket's clients cannot know what is committed.
    assert.equal((await node.process.kill("SIGTERM")).code, 0);
  }
  const stored = await several.readFresh(crowd.documents);
  for (const [document, doc] of stored) {
    const living = crowd.living.filter((typist) => typist.document === document);
    const dead = crowd.dead.filter((typist) => typist.document === document);
    assertKept(doc, [...living, ...dead]);
    assertComplete(doc, living);
    for (const typist of living)
      assert.ok(sameContent(typist.doc, doc), `${typist.name} is equal to the store`);
  }
  const wordsOf = (typists: readonly Typist[]): number =>
    typists.reduce((sum, typist) => sum + typist.acknowledgedWords().length, 0);
  const closes = crowd.living.reduce((sum, typist) => sum + typist.closes.length, 0);
  t.diagnostic(
    `${wordsOf(crowd.living)} words acknowledged, and ${wordsOf(crowd.dead)} to ${crowd.dead.length} who went with their node; ${closes} sockets closed`,
  );
  for (const [name, times] of done) t.diagnostic(`${times} x ${name}`);
  assert.ok(wordsOf(crowd.living) > 100, "there was something to lose");
  if (CHAOS_SECONDS === undefined) {
    assert.ok(wordsOf(crowd.dead) > 0, "also for those who could not bring it again");
    assert.deepEqual(
      Object.keys(TROUBLES).filter((name) => !done.has(name)),
      [],
      "every trouble was there",
    );
  }
}

describe("chaos on three nodes", { skip: NO_MONGO_COMMAND || NO_REDIS }, () => {
  it("[CL2] [CL3] [CL4] loses no acknowledged edit and doubles none, in any replica and in the store", run);
});
