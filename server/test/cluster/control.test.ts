import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { Failure, type Bus, type Streams } from "@scriptorium/shared";
import { createMemoryHub, memoryStreams } from "@scriptorium/shared/testing";
import { createSharedControl, type ControlLimits, type SharedControl } from "../../src/cluster/control.ts";
import { createLocalControl, type Announcement, type ControlEvent } from "../../src/cluster/events.ts";
import { SILENT } from "../storage/temporary-store.ts";
import { until } from "../support/site.ts";

const HOUR_MS = 3_600_000;

interface Node {
  readonly control: SharedControl;
  /** Users of the events that it has acted on, in order; "*" is everything. */
  readonly acted: string[];
}

interface Options {
  readonly bus?: Bus;
  readonly limits?: Partial<ControlLimits>;
  readonly act?: (event: ControlEvent) => Promise<void>;
}

/** A node that looks only when it is told to, unless its limits say otherwise. */
async function startNode(
  t: TestContext,
  streams: Streams,
  { bus, limits, act = async () => undefined }: Options = {},
): Promise<Node> {
  const acted: string[] = [];
  const control = createSharedControl({
    streams,
    node: `node-${Math.random()}`,
    bus,
    log: SILENT,
    limits: { pollMs: HOUR_MS, slowestMs: HOUR_MS, ...limits },
  });
  t.after(() => control.stop());
  await control.start({
    act: async (event) => {
      await act(event);
      acted.push(event.type === "user-changed" ? event.userId : event.type);
    },
    actOnAll: async () => void acted.push("*"),
  });
  return { control, acted };
}

const change = (userId: string): Announcement => ({
  op: `change:${userId}`,
  events: [{ type: "user-changed", userId }],
});

/** Streams whose calls fail or wait while the test says so. */
function gated(streams: Streams) {
  const gate = {
    failing: new Set<"read" | "append">(),
    /** The write is done and its answer lost. */
    deaf: false,
    open: Promise.resolve(),
    reads: 0,
  };
  const through: Streams = {
    ...streams,
    read: async (...call) => {
      gate.reads += 1;
      await gate.open;
      if (gate.failing.has("read")) throw new Failure("try_later");
      return streams.read(...call);
    },
    append: async (...call) => {
      if (gate.failing.has("append")) throw new Failure("try_later");
      const outcome = await streams.append(...call);
      if (gate.deaf) throw new Failure("try_later");
      return outcome;
    },
  };
  return { gate, streams: through };
}

describe("the control feed", () => {
  it("acts at once where something was announced, and once; elsewhere at the next look, in order", async (t) => {
    const streams = memoryStreams();
    const [a, b] = [await startNode(t, streams), await startNode(t, streams)];
    await a.control.announce(change("ada"));
    await a.control.announce({
      op: "many",
      events: [
        { type: "session-ended", sessionId: "s" },
        { type: "document-ended", document: "notes:x" },
      ],
    });
    const all = ["ada", "session-ended", "document-ended"];
    assert.deepEqual(a.acted, all);
    assert.deepEqual(b.acted, []);
    await b.control.announce(change("bo"));
    for (const node of [a, b, a, b]) await node.control.look();
    assert.deepEqual(a.acted, [...all, "bo"]);
    assert.deepEqual(b.acted, ["bo", ...all]);
  });

  it("does not wait for the next look when there is a hint on the bus", async (t) => {
    const streams = memoryStreams();
    const hub = createMemoryHub();
    const a = await startNode(t, streams, { bus: hub.join() });
    const b = await startNode(t, streams, { bus: hub.join() });
    await a.control.announce(change("ada"));
    await until(() => b.acted.length > 0, "the event is acted on");
    assert.deepEqual(b.acted, ["ada"]);
  });

  it("looks by itself, with a bus that is cut or without any", async (t) => {
    const streams = memoryStreams();
    const hub = createMemoryHub();
    const cut = hub.join();
    const limits = { pollMs: 5 };
    const a = await startNode(t, streams, { bus: hub.join() });
    const nodes = [
      await startNode(t, streams, { bus: cut, limits }),
      await startNode(t, streams, { limits }),
    ];
    hub.cut(cut);
    await a.control.announce(change("ada"));
    await until(() => nodes.every(({ acted }) => acted.length > 0), "the event is acted on");
  });

  it("takes any number of hints for one more look after the one under way", async (t) => {
    const { gate, streams } = gated(memoryStreams());
    const hub = createMemoryHub();
    const bus = hub.join();
    const b = await startNode(t, streams, { bus: hub.join() });
    const { promise, resolve } = Promise.withResolvers<undefined>();
    gate.open = promise.then(() => undefined);
    const first = b.control.look();
    for (let i = 0; i < 100; i += 1) bus.publish("control", Uint8Array.of(i));
    // The hub delivers in order: what was published last has arrived when an answer to it would have.
    await new Promise((settled) => setImmediate(() => setImmediate(settled)));
    assert.equal(gate.reads, 1);
    resolve(undefined);
    await first;
    await b.control.look();
    assert.ok(gate.reads <= 3, `${gate.reads} reads`);
  });

  it("takes what the bus says for a hint while the store can be read, and nothing that is not an event for more", async (t) => {
    const streams = memoryStreams();
    const hub = createMemoryHub();
    const stranger = hub.join();
    const b = await startNode(t, streams, { bus: hub.join(), limits: { rumourMs: 20 } });
    const say = (said: unknown) =>
      stranger.publish("control", new TextEncoder().encode(JSON.stringify(said)));
    say({ node: "x", events: change("ada").events });
    say([{ type: "user-changed" }]);
    say("user-changed");
    stranger.publish("control", new Uint8Array());
    say(change("bo").events);
    await until(() => b.control.stats().polls > 1, "it looked");
    // Longer than rumours wait: what was to be acted on would have been.
    await new Promise((settled) => setTimeout(settled, 60));
    assert.deepEqual(b.acted, []);
  });

  it("acts on what the bus says when the store cannot be read, whether it refuses or hangs", async (t) => {
    const whole = memoryStreams();
    const hub = createMemoryHub();
    const { gate, streams } = gated(whole);
    const a = await startNode(t, whole, { bus: hub.join() });
    const b = await startNode(t, streams, { bus: hub.join(), limits: { rumourMs: 20 } });
    gate.failing.add("read");
    await a.control.announce(change("ada"));
    await until(() => b.acted.length === 1, "it acts while reads fail");
    assert.equal(b.control.failing, true);
    gate.failing.clear();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    gate.open = promise.then(() => undefined);
    await a.control.announce(change("bo"));
    await until(() => b.acted.length === 2, "it acts while reads hang");
    resolve(undefined);
    await b.control.look();
    assert.deepEqual(b.acted, ["ada", "bo", "ada", "bo"], "and again when the store says so");
    assert.equal(b.control.failing, false);
  });

  it("looks at everything when the bus says more than it can keep while the store cannot be read", async (t) => {
    const whole = memoryStreams();
    const hub = createMemoryHub();
    const { gate, streams } = gated(whole);
    const stranger = hub.join();
    const b = await startNode(t, streams, { bus: hub.join(), limits: { rumourMs: HOUR_MS } });
    gate.failing.add("read");
    const events = Array.from({ length: 600 }, (_, i) => change(`u${i}`).events).flat();
    for (let i = 0; i < 2; i += 1)
      stranger.publish("control", new TextEncoder().encode(JSON.stringify(events)));
    await until(() => b.acted.length > 0, "it acts");
    assert.deepEqual(b.acted, ["*"]);
  });

  it("goes on after an outage of the store and misses nothing", async (t) => {
    const whole = memoryStreams();
    const { gate, streams } = gated(whole);
    const a = await startNode(t, whole);
    const b = await startNode(t, streams, { limits: { pollMs: 2, slowestMs: 10 } });
    gate.failing.add("read");
    for (const name of ["ada", "bo", "cy"]) await a.control.announce(change(name));
    await until(() => b.control.stats().failedPolls > 3, "it keeps trying");
    assert.deepEqual(b.acted, []);
    gate.failing.clear();
    await until(() => b.acted.length === 3, "all events are acted on");
    assert.deepEqual(b.acted, ["ada", "bo", "cy"]);
  });

  it("fails an announcement that the store did not take, has acted all the same, and goes on trying", async (t) => {
    const whole = memoryStreams();
    const { gate, streams } = gated(whole);
    const [a, b] = [await startNode(t, streams), await startNode(t, whole)];
    gate.failing.add("append");
    await assert.rejects(a.control.announce(change("ada")), Failure);
    assert.deepEqual(a.acted, ["ada"]);
    assert.equal(a.control.stats().unsent, 1);
    await assert.rejects(a.control.look(), Failure);
    await b.control.look();
    assert.deepEqual(b.acted, []);
    gate.failing.clear();
    await a.control.look();
    await b.control.look();
    assert.deepEqual(b.acted, ["ada"]);
    assert.equal(a.control.stats().unsent, 0);
  });

  it("writes a change once, however often it is announced, also when the answer to it was lost", async (t) => {
    const whole = memoryStreams();
    const { gate, streams } = gated(whole);
    const [a, b] = [await startNode(t, streams), await startNode(t, whole)];
    gate.deaf = true;
    await assert.rejects(a.control.announce(change("ada")), Failure);
    gate.deaf = false;
    await a.control.look();
    await a.control.announce(change("ada"));
    await b.control.announce(change("ada"));
    await a.control.look();
    assert.equal((await whole.read("control", 1, 10)).length, 1);
    await b.control.look();
    assert.deepEqual(b.acted, ["ada", "ada"], "by its own repetition, and by the other's announcement");
    await a.control.announce(change("bo"));
    await b.control.look();
    assert.equal(b.control.stats().missed, 0, "without a gap that looks as if something was trimmed");
  });

  it("reads all there is in one look", async (t) => {
    const streams = memoryStreams();
    const [a, b] = [await startNode(t, streams), await startNode(t, streams)];
    const names = Array.from({ length: 1_100 }, (_, i) => `u${i}`);
    for (const name of names) await a.control.announce(change(name));
    await b.control.look();
    assert.deepEqual(b.acted, names);
  });

  it("gets every announcement of many nodes at once into the stream", async (t) => {
    const streams = memoryStreams();
    const nodes = await Promise.all(Array.from({ length: 5 }, () => startNode(t, streams)));
    const names = Array.from({ length: 10 }, (_, i) => `u${i}`);
    await Promise.all(
      nodes.flatMap(({ control }, n) => names.map((name) => control.announce(change(`${name}-${n}`)))),
    );
    const written = await streams.read("control", 1, 1_000);
    assert.deepEqual(
      written.map(({ at }) => at),
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
    for (const { control, acted } of nodes) {
      await control.look();
      assert.equal(new Set(acted).size, 50);
      assert.equal(acted.length, 50);
    }
  });

  it("looks at everything again when it has fallen behind what is kept, and then follows", async (t) => {
    const streams = memoryStreams();
    const limits = { entries: 20 };
    const [a, b] = [await startNode(t, streams, { limits }), await startNode(t, streams, { limits })];
    for (let i = 1; i <= 100; i += 1) await a.control.announce(change(`u${i}`));
    const kept = await streams.read("control", 1, 1_000);
    assert.ok(kept.length >= 20 && kept.length < 25, `${kept.length} entries are kept`);
    await b.control.look();
    assert.equal(b.acted[0], "*");
    assert.deepEqual(
      b.acted.slice(1),
      kept.map(({ at }) => `u${at}`),
    );
    await a.control.announce(change("later"));
    await b.control.look();
    assert.deepEqual(b.acted.slice(-1), ["later"]);
    assert.equal(b.control.stats().missed, 1);
  });

  it("looks at everything again for an entry that it does not understand", async (t) => {
    const streams = memoryStreams();
    const b = await startNode(t, streams);
    await streams.append("control", { at: 1, entry: { node: "newer", events: [{ type: "moon-full" }] } });
    await streams.append("control", { at: 2, entry: { node: "newer", events: change("ada").events } });
    await b.control.look();
    assert.deepEqual(b.acted, ["*", "ada"]);
  });

  it("has nothing to do with what was announced before it started", async (t) => {
    const streams = memoryStreams();
    const a = await startNode(t, streams);
    await a.control.announce(change("ada"));
    const b = await startNode(t, streams);
    await b.control.look();
    assert.deepEqual(b.acted, []);
  });

  it("tries again what it could not act on, and lets nothing wait for it", async (t) => {
    const streams = memoryStreams();
    let broken = true;
    const act = async (event: ControlEvent): Promise<void> => {
      if (event.type === "user-changed" && event.userId === "hard" && broken) throw new Failure("try_later");
      if (event.type === "user-changed" && event.userId === "slow") await new Promise(() => undefined);
    };
    const a = await startNode(t, streams);
    const stuck = createSharedControl({ streams, node: "stuck", bus: undefined, log: SILENT });
    const acted: string[] = [];
    const push = async (event: ControlEvent) => {
      await act(event);
      acted.push(event.type === "user-changed" ? event.userId : "");
    };
    await stuck.start({ act: push, actOnAll: async () => undefined });
    for (const name of ["slow", "hard", "ada"]) await a.control.announce(change(name));
    await stuck.look();
    await until(() => acted.includes("ada"), "the last one is acted on");
    assert.deepEqual(acted, ["ada"]);
    broken = false;
    await stuck.look();
    await until(() => acted.includes("hard"), "the failed one is acted on");
  });

  it("of a node that is alone acts, writes nothing and forgives what goes wrong with the sockets", async () => {
    const acted: ControlEvent[] = [];
    const control = createLocalControl({ log: SILENT });
    await control.start({
      act: async (event) => {
        acted.push(event);
        throw new Error("no luck");
      },
      actOnAll: async () => undefined,
    });
    await control.announce(change("ada"));
    assert.deepEqual(acted, change("ada").events);
  });
});
