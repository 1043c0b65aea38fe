import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import type { Bus, BusState, Subscription } from "../bus.ts";
import { newId } from "../ids.ts";
import type { Opened } from "./opened.ts";

/** Buses that are nodes of one installation, and a way to separate one of them from what carries the messages. */
export interface BusNetwork {
  /** A node more, whose bus is up. */
  join(): Promise<Bus>;
  /** The bus goes down, at once or as soon as it notices. */
  cut(bus: Bus): void;
  heal(bus: Bus): void;
}

/** A bus over a real network notices a cut, and mends it, within seconds; on a loaded machine within many. */
const PATIENCE_MS = 30_000;
const LARGE_BYTES = 600_000;

type Step = { readonly kind: "subscribe" | "end"; readonly channel: number };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("subscribe" as const, "subscribe" as const, "end" as const),
  channel: fc.integer({ min: 0, max: 3 }),
});

/** What every implementation of `Bus` promises; `open` is called once for the suite. */
export function busContract(name: string, open: () => Promise<Opened<BusNetwork>>): void {
  describe(`bus contract: ${name}`, () => {
    let opened: Opened<BusNetwork>;
    let network: BusNetwork;
    let buses: Bus[] = [];
    before(async () => {
      opened = await open();
      network = opened.subject;
    });
    after(() => opened.close());
    beforeEach(() => {
      buses = [];
    });
    afterEach(() => Promise.all(buses.map((bus) => bus.close())));

    const join = async (): Promise<Bus> => {
      const bus = await network.join();
      buses.push(bus);
      return bus;
    };
    const nodes = async (): Promise<[Bus, Bus, Bus]> => Promise.all([join(), join(), join()]);

    it("is up when it has joined, with nothing counted", async () => {
      const bus = await join();
      assert.equal(bus.state, "up");
      assert.deepEqual(bus.stats(), {
        published: 0,
        publishedBytes: 0,
        received: 0,
        receivedBytes: 0,
        dropped: 0,
        refused: 0,
      });
    });

    it("brings a message to every other node that listens on its channel, and to no other channel", async () => {
      const [a, b, c] = await nodes();
      const channel = newId();
      const heard = await Promise.all([listen(b, channel), listen(c, channel)]);
      const others = await Promise.all([listen(b, `${channel}x`), listen(c, channel.slice(1))]);
      a.publish(channel, bytes("hello"));
      for (const { messages } of heard) await until(() => messages.length === 1, "the message arrives");
      for (const { messages } of heard) assert.deepEqual(messages, [bytes("hello")]);
      // What comes after is heard too, so nothing is under way to the other channels any more.
      for (const listening of others) await proveQuiet(a, listening);
      assert.equal(b.stats().refused + c.stats().refused, 0);
    });

    it("is active when it says so: what is published from then on arrives", async () => {
      const [a, b] = await nodes();
      for (let round = 0; round < 25; round += 1) {
        const { messages } = await listen(b, newId(), (channel) => a.publish(channel, bytes("now")));
        await until(() => messages.length > 0, `the message of round ${round} arrives`);
      }
    });

    it("carries any bytes, none and many, and leaves the caller's bytes alone", async () => {
      const [a, b] = await nodes();
      const every = Uint8Array.from({ length: 256 }, (_, i) => i);
      const large = Uint8Array.from({ length: LARGE_BYTES }, (_, i) => (i * 7) % 251);
      const { channel, messages } = await listen(b, "any bytes: ünïcode, 汉字, {braces} and\nlines");
      for (const message of [every, new Uint8Array(), large]) {
        const given = message.slice();
        a.publish(channel, given);
        assert.deepEqual(given, message);
        given.fill(0);
      }
      await until(() => messages.length === 3, "all three arrive");
      assert.deepEqual(messages.toSorted(bySize), [new Uint8Array(), every, large]);
      assert.equal(a.stats().publishedBytes, 256 + LARGE_BYTES);
      assert.equal(b.stats().receivedBytes, 256 + LARGE_BYTES);
    });

    it("carries a burst of one turn whole", async () => {
      const [a, b] = await nodes();
      const { channel, messages } = await listen(b, newId());
      for (let i = 0; i < 500; i += 1) a.publish(channel, bytes(`${i}`));
      await until(
        () => messages.length === 500,
        () => `500 arrive, not ${messages.length}`,
      );
      const said = messages.map((message) => Number(text(message)));
      assert.deepEqual(
        said.toSorted((x, y) => x - y),
        Array.from({ length: 500 }, (_, i) => i),
      );
      assert.equal(a.stats().published, 500);
      assert.equal(b.stats().received, 500);
    });

    it("calls every listener of a channel once, the same function twice, and none that has ended", async () => {
      const [a, b] = await nodes();
      const channel = newId();
      const twice: string[] = [];
      const hear = (message: Uint8Array) => void twice.push(text(message));
      const subscriptions = [b.subscribe(channel, hear), b.subscribe(channel, hear)];
      const { messages, subscription } = await listen(b, channel);
      assert.deepEqual(await Promise.all(subscriptions.map(({ active }) => active)), [true, true]);
      a.publish(channel, bytes("1"));
      await until(() => messages.length === 1 && twice.length === 2, "all three hear it");
      subscriptions[0]?.end();
      subscriptions[0]?.end();
      a.publish(channel, bytes("2"));
      await until(() => messages.length === 2, "it is still subscribed");
      assert.deepEqual(twice, ["1", "1", "2"]);
      subscription.end();
      a.publish(channel, bytes("3"));
      await until(() => twice.length === 4, "the last listener hears on");
      assert.equal(messages.length, 2);
      assert.equal(b.stats().received, 3);
    });

    it("calls no listener that another listener of the same message has ended", async () => {
      const [a, b] = await nodes();
      const channel = newId();
      const ended: string[] = [];
      let second: Subscription | undefined;
      b.subscribe(channel, () => second?.end());
      second = b.subscribe(channel, (message) => void ended.push(text(message)));
      const { messages } = await listen(b, channel);
      a.publish(channel, bytes("1"));
      await until(() => messages.length === 1, "the third hears it");
      assert.deepEqual(ended, []);
    });

    it("ends subscribed after subscribing, ending and subscribing again, in one turn and over several", async () => {
      const [a, b] = await nodes();
      for (const pause of [async () => undefined, nextTurn, () => delay(20)]) {
        const channel = newId();
        b.subscribe(channel, fail).end();
        await pause();
        b.subscribe(channel, fail).end();
        await pause();
        const { messages } = await listen(b, channel);
        a.publish(channel, bytes("again"));
        await until(() => messages.length === 1, "the message arrives");
      }
    });

    it("hears exactly what it is subscribed to after any sequence of subscribing and ending", async () => {
      const [a, b] = await nodes();
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(step, { maxLength: 6 }), { maxLength: 5 }), async (turns) => {
          const run = newId();
          const live: Hearing[] = [];
          for (const turn of turns) {
            for (const { kind, channel } of turn) {
              const full = `${run}:${channel}`;
              if (kind === "subscribe") live.push(hearing(b, full));
              else remove(live, full)?.subscription.end();
            }
            await nextTurn();
          }
          const probe = await listen(b, run);
          assert.deepEqual(
            new Set(await Promise.all(live.map(({ subscription }) => subscription.active))),
            new Set(live.map(() => true)),
          );
          for (const channel of [0, 1, 2, 3]) a.publish(`${run}:${channel}`, bytes(`${run}:${channel}`));
          await until(
            () => live.every(({ messages }) => messages.length === 1),
            "every listener hears it once",
          );
          await proveQuiet(a, probe);
          for (const { channel, messages } of live) assert.deepEqual(messages.map(text), [channel]);
          for (const { subscription } of [...live, probe]) subscription.end();
        }),
        { numRuns: 15 },
      );
    });

    it("goes down when it is cut off, says so, and drops and counts what is published then", async () => {
      const [a, b, c] = await nodes();
      const changes: BusState[] = [];
      const unheard: BusState[] = [];
      a.whenChanged((state) => void changes.push(state));
      a.whenChanged((state) => void unheard.push(state))();
      const atC = await listen(c, newId());
      network.cut(a);
      await until(() => a.state === "down", "the bus notices");
      assert.deepEqual(changes, ["down"]);
      const { published, dropped } = a.stats();
      a.publish(atC.channel, bytes("lost"));
      assert.deepEqual([a.stats().published, a.stats().dropped], [published, dropped + 1]);
      assert.deepEqual([b.state, c.state], ["up", "up"], "the others are not concerned");
      await proveQuiet(b, atC, 0);
      network.heal(a);
      await until(() => a.state === "up", "the bus is back");
      assert.deepEqual(changes, ["down", "up"]);
      assert.deepEqual(unheard, []);
      a.publish(atC.channel, bytes("after"));
      await until(() => atC.messages.length === 2, "it passes again");
      assert.deepEqual(text(atC.messages[1] ?? bytes("")), "after");
    });

    it("has every subscription active when it says up, those that were made while it was down too", async () => {
      const [a, b] = await nodes();
      const kept = await Promise.all(Array.from({ length: 40 }, () => listen(b, newId())));
      const heard: string[] = [];
      const late = hearing(b, newId());
      await late.subscription.active;
      network.cut(b);
      await until(() => b.state === "down", "the bus notices");
      const meanwhile = hearing(b, newId());
      assert.equal(await meanwhile.subscription.active, false);
      kept.pop()?.subscription.end();
      const all = [...kept, late, meanwhile];
      // The very moment counts: whoever hears "up" may rely on every subscription.
      b.whenChanged((state) => {
        heard.push(state);
        for (const { channel } of all) a.publish(channel, bytes("up"));
      });
      network.heal(b);
      await until(() => b.state === "up", "the bus is back");
      await until(() => all.every(({ messages }) => messages.length > 0), "every subscription hears");
      assert.deepEqual(heard, ["up"]);
      assert.ok(await hearing(b, newId()).subscription.active);
    });

    it("answers false for subscriptions under way when it is cut off, and for those that end", async () => {
      const bus = await join();
      const ended = bus.subscribe(newId(), fail);
      ended.end();
      assert.equal(await ended.active, false);
      network.cut(bus);
      const under = Array.from({ length: 20 }, () => hearing(bus, newId()));
      await until(() => bus.state === "down", "the bus notices");
      // A few may have been answered before the cut; none may stay without an answer.
      await Promise.all(under.map(({ subscription }) => subscription.active));
      network.heal(bus);
      await until(() => bus.state === "up", "the bus is back");
    });

    it("is down and silent after close, also for what is called then", async () => {
      const [a, b] = await nodes();
      const changes: BusState[] = [];
      const { channel, messages, subscription } = await listen(b, newId());
      b.whenChanged((state) => void changes.push(state));
      const atA = await listen(a, channel);
      // What is published before the close goes out: a node that leaves says so last.
      b.publish(channel, bytes("farewell"));
      await Promise.all([b.close(), b.close()]);
      await until(() => atA.messages.length === 1, "the farewell arrives");
      a.publish(channel, bytes("too late"));
      const { dropped } = b.stats();
      b.publish(channel, bytes("nothing"));
      assert.equal(b.stats().dropped, dropped + 1);
      assert.equal(await b.subscribe(channel, fail).active, false);
      subscription.end();
      await b.close();
      await proveQuiet(a, await listen(await join(), newId()));
      assert.deepEqual({ state: b.state, messages, changes }, { state: "down", messages: [], changes: [] });
    });
  });
}

interface Hearing {
  readonly channel: string;
  readonly messages: Uint8Array[];
  readonly subscription: Subscription;
}

function hearing(bus: Bus, channel: string): Hearing {
  const messages: Uint8Array[] = [];
  const subscription = bus.subscribe(channel, (message) => void messages.push(Uint8Array.from(message)));
  return { channel, messages, subscription };
}

/** An active subscription; `then` runs in the very turn in which it became that. */
async function listen(bus: Bus, channel: string, then?: (channel: string) => void): Promise<Hearing> {
  const heard = hearing(bus, channel);
  assert.equal(await heard.subscription.active, true, "the bus is up, so the subscription becomes active");
  then?.(channel);
  return heard;
}

/** Nothing was under way to the listener but `expected` messages: the next one it hears is the one sent now. */
async function proveQuiet(from: Bus, { channel, messages }: Hearing, expected = 0): Promise<void> {
  from.publish(channel, bytes("quiet"));
  await until(() => messages.length > expected, "the last message arrives");
  assert.deepEqual(messages.slice(expected).map(text), ["quiet"]);
}

function remove(live: Hearing[], channel: string): Hearing | undefined {
  const at = live.findIndex((one) => one.channel === channel);
  return at < 0 ? undefined : live.splice(at, 1)[0];
}

async function until(condition: () => boolean, what: string | (() => string)): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `never happened: ${typeof what === "string" ? what : what()}`);
    await delay(2);
  }
}

function bytes(said: string): Uint8Array {
  return new TextEncoder().encode(said);
}

function text(message: Uint8Array): string {
  return new TextDecoder().decode(message);
}

function bySize(a: Uint8Array, b: Uint8Array): number {
  return a.length - b.length;
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function fail(): void {
  assert.fail("nothing was to be heard here");
}
