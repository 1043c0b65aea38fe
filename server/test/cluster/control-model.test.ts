import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Failure, type Bus, type StreamEntry, type Streams } from "@scriptorium/shared";
import { createMemoryHub, memoryStreams, type MemoryHub } from "@scriptorium/shared/testing";
import fc from "fast-check";
import { createSharedControl, type SharedControl } from "../../src/cluster/control.ts";
import { SILENT } from "../storage/temporary-store.ts";

/** Random schedules of what can go wrong between nodes; at the end, who was there knows everything. */

const NODES = 3;
const HOUR_MS = 3_600_000;
/** Few enough that nodes which miss some looks fall behind. */
const KEPT = 8;

type Step =
  | { readonly kind: "announce"; readonly node: number; readonly times: number }
  | { readonly kind: "look"; readonly node: number }
  | { readonly kind: "together" }
  | { readonly kind: "store"; readonly node: number; readonly does: Weather }
  | { readonly kind: "bus"; readonly node: number; readonly does: "cut" | "mute" | "heal" }
  | { readonly kind: "effects"; readonly node: number; readonly fail: boolean }
  | { readonly kind: "restart"; readonly node: number };

/** `deaf`: the write is done and its answer lost. */
type Weather = "fine" | "unreadable" | "unwritable" | "deaf" | "gone";

const node = fc.nat(NODES - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("announce"), node, times: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("look"), node }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("together") }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("store"),
      node,
      does: fc.constantFrom<Weather>("fine", "fine", "unreadable", "unwritable", "deaf"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("bus"), node, does: fc.constantFrom("cut", "mute", "heal") }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("effects"), node, fail: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart"), node }) },
);

/** One life of a node, from a start to its crash or the end. */
interface Life {
  readonly id: string;
  readonly control: SharedControl;
  readonly bus: Bus;
  /** Position of the stream's head before it started: what came later is its to know. */
  readonly from: number;
  readonly announced: Set<string>;
  readonly begun: string[];
  readonly done: Set<string>;
  /** What had been announced when it looked at everything. */
  readonly covered: Set<string>;
  weather: Weather;
  failing: boolean;
}

interface World {
  readonly streams: Streams;
  readonly hub: MemoryHub;
  /** All that was ever written, by position. */
  readonly history: StreamEntry[];
  names: number;
}

function createWorld(): World {
  const memory = memoryStreams();
  const history: StreamEntry[] = [];
  return {
    streams: {
      ...memory,
      append: async (stream, entry) => {
        const outcome = await memory.append(stream, entry);
        if (outcome === "ok") history.push(entry);
        return outcome;
      },
    },
    hub: createMemoryHub(),
    history,
    names: 0,
  };
}

async function begin(world: World, id: string): Promise<Life> {
  const bus = world.hub.join();
  const control = createSharedControl({
    streams: throughWeather(world.streams, () => life.weather),
    node: id,
    bus,
    log: SILENT,
    limits: { pollMs: HOUR_MS, slowestMs: HOUR_MS, leaveMs: 1, entries: KEPT },
  });
  const life: Life = {
    id,
    control,
    bus,
    from: world.history.length,
    announced: new Set(),
    begun: [],
    done: new Set(),
    covered: new Set(),
    weather: "fine",
    failing: false,
  };
  await control.start({
    act: async (event) => {
      const name = event.type === "user-changed" ? event.userId : "";
      if (!life.begun.includes(name)) life.begun.push(name);
      if (life.failing) throw new Failure("try_later");
      life.done.add(name);
    },
    actOnAll: async () => {
      if (life.failing) throw new Failure("try_later");
      for (const { op = "" } of world.history) life.covered.add(op);
      for (const name of life.announced) life.covered.add(name);
    },
  });
  return life;
}

function throughWeather(streams: Streams, weather: () => Weather): Streams {
  const fail = (...bad: Weather[]): void => {
    if (bad.includes(weather())) throw new Failure("try_later");
  };
  return {
    ...streams,
    read: async (...call) => {
      fail("unreadable", "gone");
      return streams.read(...call);
    },
    head: async (...call) => {
      fail("unreadable", "gone");
      return streams.head(...call);
    },
    append: async (...call) => {
      fail("unwritable", "gone");
      const outcome = await streams.append(...call);
      fail("deaf");
      return outcome;
    },
  };
}

async function announce(world: World, life: Life): Promise<void> {
  const userId = `u${(world.names += 1)}`;
  life.announced.add(userId);
  await settled(life.control.announce({ op: userId, events: [{ type: "user-changed", userId }] }));
  assert.ok(life.begun.includes(userId), "it has acted, whatever the store said");
}

/** Outages are expected; anything else is not. */
async function settled(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
}

async function crash(life: Life): Promise<void> {
  life.weather = "gone";
  await life.bus.close();
  await life.control.stop();
}

async function play(world: World, lives: Life[], now: Step): Promise<void> {
  if (now.kind === "together") {
    await Promise.all(lives.map((life) => announce(world, life)));
    return;
  }
  const life = lives[now.node];
  assert.ok(life !== undefined);
  switch (now.kind) {
    case "announce":
      for (let i = 0; i < now.times; i += 1) await announce(world, life);
      return;
    case "look":
      return settled(life.control.look());
    case "store":
      life.weather = now.does;
      return;
    case "bus":
      return world.hub[now.does](life.bus);
    case "effects":
      life.failing = now.fail;
      return;
    case "restart":
      await crash(life);
      lives[now.node] = await begin(world, `${life.id}'`);
  }
}

function assertKnowsAll(world: World, life: Life): void {
  const names = world.history.map(({ op = "" }) => op);
  const knows = (name: string): boolean => life.done.has(name) || life.covered.has(name);
  const unseen = names.filter((name, at) => at >= life.from && !knows(name));
  assert.deepEqual(unseen, [], `${life.id} has missed something`);
  // What it has announced itself came before; a name comes twice when its first entry was trimmed meanwhile.
  const begun = life.begun.filter((name) => !life.announced.has(name));
  assert.ok(isSubsequence(begun, names), `${begun.join()} is not in the order of ${names.join()}`);
  for (const name of life.announced) assert.ok(knows(name), "its own");
}

function isSubsequence(part: readonly string[], whole: readonly string[]): boolean {
  let at = -1;
  return part.every((name) => (at = whole.indexOf(name, at + 1)) >= 0);
}

describe("control events under faults", () => {
  it("reach every node that was there, at least once and in order", async () => {
    const seen = { missed: 0, lives: 0, events: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const world = createWorld();
        const lives = await Promise.all(Array.from({ length: NODES }, (_, i) => begin(world, `n${i}`)));
        for (const now of steps) await play(world, lives, now);
        for (const life of lives) {
          life.weather = "fine";
          life.failing = false;
        }
        // Once for what each has still to send, once for what the others have sent, once for what failed here.
        for (let round = 0; round < 3; round += 1) for (const life of lives) await life.control.look();
        await new Promise((resolve) => setImmediate(resolve));
        for (const life of lives) assertKnowsAll(world, life);
        for (const life of lives) {
          const unsent = [...life.announced].filter((name) => !world.history.some(({ op }) => op === name));
          assert.deepEqual(unsent, [], "what was announced is in the stream in the end");
          seen.missed += life.control.stats().missed;
          seen.lives += 1;
        }
        seen.events += world.history.length;
        for (const life of lives) await crash(life);
      }),
      { numRuns: 100 },
    );
    assert.ok(seen.missed > 5 && seen.events > 500, JSON.stringify(seen));
  });
});
