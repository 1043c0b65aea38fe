import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { Failure, type Bus } from "@scriptorium/shared";
import { createMemoryHub } from "@scriptorium/shared/testing";
import { createNodes, type Nodes } from "../../src/cluster/nodes.ts";
import { openMemory } from "../../src/storage/adapters/memory/open.ts";
import type { Collection, Doc, OpenCollection } from "../../src/storage/ports.ts";
import { SILENT } from "../storage/temporary-store.ts";
import { until } from "../support/site.ts";

const BEAT_MS = 1_000;
const LAPSE_MS = 4_000;
const FORGET_MS = 600_000;

interface Site {
  readonly open: OpenCollection;
  /** Whether the store answers. */
  store: "up" | "down" | "silent";
  /** What every clock shows beside its own offset. */
  nowMs: number;
  /** A node that beats when it is told to. */
  node(id: string, options?: { bus?: Bus; wire?: string; offsetMs?: () => number }): Nodes;
  rows(): Promise<string[]>;
  /** Lets time pass in beats of these nodes; the others are dead. */
  pass(ms: number, ...alive: Nodes[]): Promise<void>;
}

async function openSite(): Promise<Site> {
  const memory = await openMemory();
  const site: Site = {
    open: (spec) => faulty(memory.open(spec), () => site.store),
    store: "up",
    nowMs: 0,
    node: (id, { bus, wire = "1", offsetMs = () => 0 } = {}) =>
      createNodes({
        open: site.open,
        node: id,
        bus,
        wire,
        steady: () => site.nowMs + offsetMs(),
        log: SILENT,
      }),
    rows: async () => {
      const rows = memory.open({ name: "nodes", unique: [], indexes: [] });
      return (await rows.find({ where: {}, limit: 100 })).map(({ id }) => id);
    },
    pass: async (ms, ...alive) => {
      for (let passed = 0; passed < ms; passed += BEAT_MS) {
        site.nowMs += BEAT_MS;
        for (const node of alive) await node.beat();
      }
    },
  };
  return site;
}

function faulty<T extends Doc>(rows: Collection<T>, store: () => Site["store"]): Collection<T> {
  const guard = async (): Promise<void> => {
    if (store() === "down") throw new Failure("try_later");
    if (store() === "silent") await new Promise(() => undefined);
  };
  return {
    insert: async (doc) => guard().then(() => rows.insert(doc)),
    get: async (id) => guard().then(() => rows.get(id)),
    find: async (options) => guard().then(() => rows.find(options)),
    patch: async (id, fields) => guard().then(() => rows.patch(id, fields)),
    remove: async (id) => guard().then(() => rows.remove(id)),
    removeWhere: async (where) => guard().then(() => rows.removeWhere(where)),
  };
}

const ids = (node: Nodes): string[] => [...node.others].toSorted();

describe("the registry of nodes", () => {
  it("shows each node the others, and never itself", async () => {
    const site = await openSite();
    const [a, b, c] = ["a", "b", "c"].map((id) => site.node(id));
    assert.ok(a && b && c);
    for (const node of [a, b, c, a, b]) await node.beat();
    assert.deepEqual(
      [ids(a), ids(b), ids(c)],
      [
        ["b", "c"],
        ["a", "c"],
        ["a", "b"],
      ],
    );
  });

  it("takes a node for gone when its beat has stood still, and for back when it goes on", async () => {
    const site = await openSite();
    const [a, b] = [site.node("a"), site.node("b")];
    await b.beat();
    await site.pass(BEAT_MS, a);
    await site.pass(LAPSE_MS - BEAT_MS, a);
    assert.deepEqual(ids(a), ["b"], "not yet");
    await site.pass(BEAT_MS, a);
    assert.deepEqual(ids(a), []);
    await b.beat();
    await a.beat();
    assert.deepEqual(ids(a), ["b"]);
    await site.pass(10 * LAPSE_MS, b, a);
    assert.deepEqual(ids(a), ["b"], "as long as it beats");
  });

  it("gives the same set until something has changed", async () => {
    const site = await openSite();
    const [a, b] = [site.node("a"), site.node("b")];
    await b.beat();
    await a.beat();
    const before = a.others;
    await site.pass(3 * BEAT_MS, b, a);
    assert.equal(a.others, before);
    await site.pass(LAPSE_MS, a);
    assert.notEqual(a.others, before);
  });

  it("judges a node whose clock is an hour off, or leaps, like any other", async () => {
    const site = await openSite();
    const hour = 3_600_000;
    let leapMs = hour;
    const [a, b] = [site.node("a"), site.node("b", { offsetMs: () => leapMs })];
    await site.pass(3 * BEAT_MS, a, b);
    assert.deepEqual([ids(a), ids(b)], [["b"], ["a"]]);
    leapMs += hour;
    await site.pass(BEAT_MS, b, a);
    assert.deepEqual([ids(a), ids(b)], [["b"], ["a"]], "it slept for an hour: nobody died of it");
    assert.deepEqual(await site.rows(), ["a", "b"]);
    await site.pass(LAPSE_MS, a);
    await b.beat();
    assert.deepEqual([ids(a), ids(b)], [[], ["a"]]);
  });

  it("keeps the last answer while the store is away, and counts no time in which nobody could beat", async () => {
    const site = await openSite();
    const [a, b, c] = ["a", "b", "c"].map((id) => site.node(id));
    assert.ok(a && b && c);
    for (const node of [b, c, a]) await node.beat();
    site.store = "down";
    for (let i = 0; i < 60; i += 1) {
      site.nowMs += BEAT_MS;
      await assert.rejects(a.beat(), Failure);
      assert.deepEqual(ids(a), ["b", "c"]);
    }
    site.store = "up";
    await a.beat();
    assert.deepEqual(ids(a), ["b", "c"], "they had no chance to beat");
    await site.pass(LAPSE_MS, b, a);
    assert.deepEqual(ids(a), ["b"], "one has not come back");
  });

  it("forgets who has been dead for ten minutes; who was only asleep enters again", async () => {
    const site = await openSite();
    const [a, b] = [site.node("a"), site.node("b")];
    await b.beat();
    await a.beat();
    await site.pass(FORGET_MS - BEAT_MS, a);
    assert.deepEqual(await site.rows(), ["a", "b"]);
    await site.pass(BEAT_MS, a);
    assert.deepEqual(await site.rows(), ["a"]);
    await b.beat();
    await a.beat();
    assert.deepEqual([ids(a), ids(b)], [["b"], ["a"]]);
  });

  it("says who cannot use the bus: cut off, or without one; the dead do not count", async () => {
    const site = await openSite();
    const hub = createMemoryHub();
    const [busA, busB] = [hub.join(), hub.join()];
    const [a, b] = [site.node("a", { bus: busA }), site.node("b", { bus: busB })];
    await site.pass(BEAT_MS, b, a);
    assert.deepEqual([a.cutOff, b.cutOff], [false, false]);
    hub.cut(busB);
    await site.pass(BEAT_MS, b, a);
    assert.deepEqual([a.cutOff, b.cutOff], [true, false], "one's own bus is asked for its state, not here");
    hub.heal(busB);
    await site.pass(BEAT_MS, b, a);
    assert.equal(a.cutOff, false);
    const c = site.node("c");
    await site.pass(BEAT_MS, c, b, a);
    assert.equal(a.cutOff, true);
    await site.pass(LAPSE_MS, b, a);
    assert.deepEqual([ids(a), a.cutOff], [["b"], false]);
  });

  it("counts who speaks another version on the bus as cut off", async () => {
    const site = await openSite();
    const hub = createMemoryHub();
    const a = site.node("a", { bus: hub.join() });
    const b = site.node("b", { bus: hub.join(), wire: "2" });
    await site.pass(BEAT_MS, b, a, b);
    assert.deepEqual([a.cutOff, b.cutOff], [true, true]);
    await site.pass(LAPSE_MS + BEAT_MS, a);
    assert.equal(a.cutOff, false);
  });

  it("writes a change of the bus at once, and tells by the bus who comes, changes and leaves", async (t: TestContext) => {
    const site = await openSite();
    const hub = createMemoryHub();
    const [busA, busB] = [hub.join(), hub.join()];
    // Their own beats are an hour apart: what is seen sooner was told.
    const slow = (node: string, bus: Bus) =>
      createNodes({
        open: site.open,
        node,
        bus,
        wire: "1",
        steady: () => 0,
        log: SILENT,
        limits: { beatMs: 3_600_000, lapseMs: 9_000_000 },
      });
    const [a, b] = [slow("a", busA), slow("b", busB)];
    t.after(() => Promise.all([a.stop(), b.stop()]));
    await a.start();
    await b.start();
    await until(() => a.others.has("b"), "the newcomer is seen");
    hub.cut(busB);
    await until(async () => {
      await a.beat();
      return a.cutOff;
    }, "the cut is in the store");
    hub.heal(busB);
    await until(() => !a.cutOff, "the return is told");
    await b.stop();
    assert.deepEqual(await site.rows(), ["a"]);
    await until(() => a.others.size === 0, "the leave is told");
  });

  it("does not start while the store cannot be asked, and beats by itself once it has", async (t: TestContext) => {
    const site = await openSite();
    site.store = "down";
    await assert.rejects(site.node("early").start(), Failure);
    site.store = "up";
    const limits = { beatMs: 5 };
    const [a, b] = ["a", "b"].map((node) =>
      createNodes({ wire: "1", open: site.open, node, bus: undefined, steady: () => 0, log: SILENT, limits }),
    );
    assert.ok(a && b);
    t.after(() => Promise.all([a.stop(), b.stop()]));
    await a.start();
    assert.deepEqual(await site.rows(), ["a"], "the first beat was awaited");
    await b.start();
    await until(() => a.others.has("b"), "the newcomer is seen");
    site.store = "down";
    await assert.rejects(b.beat(), Failure);
    site.store = "up";
    await b.stop();
    await until(() => a.others.size === 0, "it goes on after an outage");
  });

  it("stops in time although the store does not answer", async () => {
    const site = await openSite();
    const limits = { leaveMs: 10 };
    const a = createNodes({
      wire: "1",
      open: site.open,
      node: "a",
      bus: undefined,
      steady: () => 0,
      log: SILENT,
      limits,
    });
    await a.start();
    site.store = "silent";
    await a.stop();
  });
});
