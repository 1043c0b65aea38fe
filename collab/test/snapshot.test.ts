import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCompactor, DEFAULT_LIMITS, type CollabLimits, type DocumentStore } from "@scriptorium/collab";
import {
  compactionContract,
  eachOperation,
  faultyStore,
  memoryDocumentStore,
} from "@scriptorium/collab/testing";
import fc from "fast-check";
import * as Y from "yjs";
import { applyStored } from "../src/part.ts";
import {
  compact,
  headStream,
  loadDocument,
  readHead,
  replaceDocument,
  retireClients,
  type CompactionDeps,
} from "../src/snapshot.ts";
import { until } from "./support/harness.ts";
import { contentOf, history, historyOf } from "./support/histories.ts";

const DOCUMENT = "notes:under-test";
const NODES = ["a", "b", "c"];
const HOUR_MS = 3_600_000;
const BASE: Partial<CollabLimits> = { deltaRatio: -1 };
const DELTA: Partial<CollabLimits> = { deltas: 100, deltaRatio: 1_000 };
/** Every delta absorbs the one before, as far as levels go. */
const CARRY: Partial<CollabLimits> = { deltas: 2, deltaRatio: 1_000 };

function depsOf(store: DocumentStore, limits: Partial<CollabLimits>, now = Date.now): CompactionDeps {
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  return { store, compactor: createCompactor(), limits: { ...DEFAULT_LIMITS, ...limits }, now, log };
}

/** Rows of several nodes; `from` is where their numbers begin, so that a later batch continues an earlier one. */
function rowsOf(updates: readonly Uint8Array[], from = 0): Parameters<DocumentStore["appendRows"]>[0] {
  return updates.map((update, index) => ({
    document: DOCUMENT,
    epoch: 1,
    node: NODES[(from + index) % NODES.length] ?? "a",
    seq: Math.floor((from + index) / NODES.length) + 1,
    at: 0,
    by: "ada",
    update,
  }));
}

/** What a server that starts now would load. */
async function contentIn(store: DocumentStore): Promise<unknown> {
  const { parts, rows } = await loadDocument(store, DOCUMENT);
  const doc = new Y.Doc();
  applyStored(doc, { parts, updates: rows.map((row) => row.update) }, undefined);
  return contentOf(doc);
}

function contentOfUpdates(updates: readonly Uint8Array[]): unknown {
  const doc = new Y.Doc();
  applyStored(doc, { parts: [], updates }, undefined);
  return contentOf(doc);
}

function contentUpdate(key: string): Uint8Array {
  const doc = new Y.Doc();
  doc.clientID = key.length;
  doc.getMap("meta").set(key, key);
  return Y.encodeStateAsUpdate(doc);
}

/** A store with a base, and a row beside it. */
async function words(): Promise<{ store: DocumentStore; updates: Uint8Array[] }> {
  const doc = new Y.Doc();
  const updates: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array) => updates.push(update));
  for (const word of ["some ", "text"]) doc.getText("md").insert(0, word);
  return { store: await prepared(updates, 1), updates };
}

async function partsIn(store: DocumentStore): Promise<string[]> {
  return (await store.listParts(DOCUMENT)).map(({ id }) => id).toSorted();
}

async function partsNamed(store: DocumentStore): Promise<string[]> {
  return (await readHead(store, DOCUMENT)).head.parts.map(({ id }) => id).toSorted();
}

/** A store with a base, deltas on top of it and rows beside them. */
async function prepared(updates: readonly Uint8Array[], compactions: number): Promise<DocumentStore> {
  const store = memoryDocumentStore();
  const share = Math.ceil(updates.length / (compactions + 1));
  for (let i = 0; i <= compactions; i += 1) {
    await store.appendRows(rowsOf(updates.slice(i * share, (i + 1) * share), i * share));
    if (i < compactions) await compact(depsOf(store, DELTA), DOCUMENT);
  }
  return store;
}

describe("compaction", () => {
  for (const [kind, limits] of [
    ["base", BASE],
    ["delta", DELTA],
    ["carrying", CARRY],
  ] as const) {
    it(`[SN1] loses nothing when a ${kind} compaction stops after any of its steps`, async () => {
      await fc.assert(
        fc.asyncProperty(history, fc.nat({ max: 3 }), async (given, compactions) => {
          const { updates } = historyOf(given);
          const expected = contentOfUpdates(updates);
          for (let steps = 0; ; steps += 1) {
            const inner = await prepared(updates, compactions);
            const faulty = faultyStore(inner);
            faulty.inject({ kind: "crash", after: steps });
            const ended = await compact(depsOf(faulty.store, limits), DOCUMENT).catch(() => undefined);
            assert.deepEqual(await contentIn(inner), expected, `after ${steps} steps`);
            // Another process takes over where this one died.
            await compact(depsOf(inner, BASE), DOCUMENT);
            assert.deepEqual(await contentIn(inner), expected, `after ${steps} steps and another compaction`);
            if (ended !== undefined) break;
          }
        }),
        { numRuns: 15, seed: 20_260_201 },
      );
    });
  }

  it("[SN2] [SN3] of compactions that race one wins, and readers see the whole document all the while", async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.nat({ max: 2 }), fc.integer(), async (given, compactions, seed) => {
        const { updates } = historyOf(given);
        const inner = await prepared(updates, compactions);
        const expected = contentOfUpdates(updates);
        const contenders = [BASE, DELTA, CARRY].map((limits, i) => depsOf(hopping(inner, seed + i), limits));
        const readAgainAndAgain = async (reader: DocumentStore): Promise<void> => {
          for (let i = 0; i < 8; i += 1) assert.deepEqual(await contentIn(reader), expected);
        };
        const [outcomes] = await Promise.all([
          Promise.all(contenders.map((deps) => compact(deps, DOCUMENT))),
          ...[7, 8, 9].map((more) => readAgainAndAgain(hopping(inner, seed + more))),
        ]);
        assert.deepEqual(await contentIn(inner), expected);
        const { head } = await readHead(inner, DOCUMENT);
        assert.deepEqual(
          (await inner.listParts(DOCUMENT)).map((part) => part.id).toSorted(),
          head.parts.map((part) => part.id).toSorted(),
          JSON.stringify(outcomes.map(({ outcome }) => outcome)),
        );
      }),
      { numRuns: 60, seed: 20_260_202 },
    );
  });

  it("[SN2] the loser of a race for the head takes its part back", async () => {
    const doc = new Y.Doc();
    doc.getText("md").insert(0, "text");
    const updates = [Y.encodeStateAsUpdate(doc)];
    const inner = await prepared(updates, 0);
    const deps = depsOf(inner, BASE);
    const slow = faultyStore(inner);
    slow.inject({ kind: "stall" }, ["heads.append"]);
    const loser = compact({ ...deps, store: slow.store }, DOCUMENT);
    await until(() => slow.stalled === 1, "the loser is about to publish");
    const winner = await compact(deps, DOCUMENT);
    slow.heal();
    assert.deepEqual([winner.outcome, (await loser).outcome], ["base", "lost"]);
    assert.equal((await inner.listParts(DOCUMENT)).length, 1);
    assert.deepEqual(await contentIn(inner), contentOfUpdates(updates));
  });

  it("[SN3] keeps rows that were written while it ran, whatever their node and number", async () => {
    const doc = new Y.Doc();
    const updates: Uint8Array[] = [];
    doc.on("update", (update: Uint8Array) => updates.push(update));
    for (let i = 0; i < 12; i += 1) doc.getText("md").insert(0, `${i} `);
    const inner = memoryDocumentStore();
    const all = rowsOf(updates);
    // Rows 1, 4 and 8 commit late: other nodes, and numbers in the middle of those that are compacted.
    const late = all.filter((_, index) => [1, 4, 8].includes(index));
    await inner.appendRows(all.filter((row) => !late.includes(row)));
    const faulty = faultyStore(inner);
    faulty.inject({ kind: "stall" }, ["putPart"]);
    const running = compact(depsOf(faulty.store, BASE), DOCUMENT);
    await until(() => faulty.stalled === 1, "the rows are read");
    await inner.appendRows(late);
    faulty.heal();
    assert.equal((await running).rows, all.length - late.length);
    assert.deepEqual(
      (await inner.readRows(DOCUMENT, 1)).map(({ node, seq }) => `${node}${seq}`).toSorted(),
      late.map(({ node, seq }) => `${node}${seq}`).toSorted(),
    );
    assert.deepEqual(await contentIn(inner), contentOfUpdates(updates));
  });

  for (const clockAheadHours of [-2, 0, 2]) {
    const sweeper = (store: DocumentStore): CompactionDeps =>
      depsOf(store, BASE, () => Date.now() + clockAheadHours * HOUR_MS);

    it(`[SN6] leaves alone what another node is about to publish, by a clock that is ${clockAheadHours} h ahead`, async () => {
      const { updates, store } = await words();
      const [sweeping, publishing] = [faultyStore(store), faultyStore(store)];
      sweeping.inject({ kind: "stall" }, ["listParts"]);
      const swept = compact(sweeper(sweeping.store), DOCUMENT);
      await until(() => sweeping.stalled === 1, "the sweep is about to look");
      await store.appendRows(rowsOf(updates, 90));
      publishing.inject({ kind: "stall" }, ["heads.append"]);
      const published = compact(depsOf(publishing.store, BASE), DOCUMENT);
      await until(() => publishing.stalled === 1, "the part is there, the head not yet");
      sweeping.heal();
      await swept;
      publishing.heal();
      assert.equal((await published).outcome, "base");
      assert.deepEqual(await contentIn(store), contentOfUpdates(updates));
      assert.deepEqual(await partsIn(store), await partsNamed(store));
    });

    it(`[SN6] sweeps what can no longer be published, by a clock that is ${clockAheadHours} h ahead`, async () => {
      const { updates, store } = await words();
      const stopped = faultyStore(store);
      stopped.inject({ kind: "stall" }, ["heads.append"]);
      const late = compact(depsOf(stopped.store, BASE), DOCUMENT);
      await until(() => stopped.stalled === 1, "the part is there, the head not yet");
      await compact(sweeper(store), DOCUMENT);
      assert.deepEqual(await partsIn(store), await partsNamed(store));
      stopped.heal();
      assert.equal((await late).outcome, "lost");
      assert.deepEqual(await partsIn(store), await partsNamed(store));
      assert.deepEqual(await contentIn(store), contentOfUpdates(updates));
    });
  }

  it("[SN6] a sweep that was stopped in the middle removes nothing that was put or published since", async () => {
    const { updates, store } = await words();
    const stopped = faultyStore(store);
    stopped.inject({ kind: "stall" }, ["removeParts"]);
    const sweeping = compact(depsOf(stopped.store, BASE), DOCUMENT);
    await until(() => stopped.stalled === 1, "the sweep has looked");
    await store.appendRows(rowsOf(updates, 90));
    await compact(depsOf(store, DELTA), DOCUMENT);
    stopped.heal();
    assert.equal((await sweeping).outcome, "base");
    assert.deepEqual(await partsIn(store), await partsNamed(store));
    assert.deepEqual(await contentIn(store), contentOfUpdates(updates));
  });

  it("[SN2] does not take back a part that has won, whatever it is told", async () => {
    const { updates, store } = await words();
    const append: typeof store.heads.append = async (...args) => {
      await store.heads.append(...args);
      return "taken";
    };
    const lying = { ...store, heads: { ...store.heads, append } };
    assert.equal((await compact(depsOf(lying, BASE), DOCUMENT)).outcome, "lost");
    assert.deepEqual(await contentIn(store), contentOfUpdates(updates));
    await compact(depsOf(store, BASE), DOCUMENT);
    assert.deepEqual(await contentIn(store), contentOfUpdates(updates));
    assert.deepEqual(await partsIn(store), await partsNamed(store));
  });

  it("[SN7] a head that is damaged, or that names a part that is not there, is an error", async () => {
    const doc = new Y.Doc();
    doc.getText("md").insert(0, "text");
    const store = await prepared([Y.encodeStateAsUpdate(doc), Y.encodeStateAsUpdate(doc)], 1);
    const { head, at } = await readHead(store, DOCUMENT);
    await store.removeParts(
      DOCUMENT,
      head.parts.map((part) => part.id),
    );
    await assert.rejects(contentIn(store));
    await store.heads.append(headStream(DOCUMENT), { at: at + 1, entry: { epoch: 1, parts: "none" } });
    await assert.rejects(contentIn(store));
  });
});

compactionContract(
  "memory",
  () => Promise.resolve({ subject: memoryDocumentStore(), close: () => Promise.resolve() }),
  {
    races: 150,
  },
);

describe("a replacement", () => {
  const replacement = { update: contentUpdate("new"), retired: [1] };

  it("[SN6] loses nothing when another node sweeps between its part and its head", async () => {
    const { store } = await words();
    const [sweeping, replacing] = [faultyStore(store), faultyStore(store)];
    sweeping.inject({ kind: "stall" }, ["listParts"]);
    const swept = compact(depsOf(sweeping.store, BASE), DOCUMENT);
    await until(() => sweeping.stalled === 1, "the sweep is about to look");
    replacing.inject({ kind: "stall" }, ["heads.append"]);
    const replaced = replaceDocument(depsOf(replacing.store, BASE), DOCUMENT, replacement);
    await until(() => replacing.stalled === 1, "the part is there, the head not yet");
    sweeping.heal();
    await swept;
    replacing.heal();
    assert.equal((await replaced).epoch, 2);
    assert.deepEqual(await contentIn(store), contentOfUpdates([replacement.update]));
    assert.deepEqual(await partsIn(store), await partsNamed(store));
  });

  it("[SN9] gives up with try_later when the head keeps moving, and takes its parts back", async () => {
    const { updates, store } = await words();
    const moving = eachOperation(store, async (operation, work) => {
      if (operation === "heads.append") await retireClients(store, DOCUMENT, [Math.random()]);
      return work();
    });
    await assert.rejects(replaceDocument(depsOf(moving, BASE), DOCUMENT, replacement), { code: "try_later" });
    assert.deepEqual(await partsIn(store), await partsNamed(store));
    assert.deepEqual(await contentIn(store), contentOfUpdates(updates));
    assert.equal((await replaceDocument(depsOf(store, BASE), DOCUMENT, replacement)).epoch, 2);
    assert.deepEqual(await contentIn(store), contentOfUpdates([replacement.update]));
  });

  for (const update of [replacement.update, undefined]) {
    const what = update === undefined ? "removal" : "replacement";
    it(`[EP4] [SN9] that stops after any of its steps is finished by the next one: ${what}`, async () => {
      for (let steps = 0, ended = false; !ended; steps += 1) {
        const { updates, store } = await words();
        const faulty = faultyStore(store);
        faulty.inject({ kind: "crash", after: steps });
        const given = { update, retired: [] };
        const [outcome] = await Promise.allSettled([
          replaceDocument(depsOf(faulty.store, BASE), DOCUMENT, given),
        ]);
        ended = outcome.status === "fulfilled";
        const { head } = await readHead(store, DOCUMENT);
        const expected = head.epoch === 1 ? updates : update === undefined ? [] : [update];
        assert.deepEqual(await contentIn(store), contentOfUpdates(expected), `after ${steps} steps`);
        await replaceDocument(depsOf(store, BASE), DOCUMENT, given);
        assert.deepEqual(await partsIn(store), await partsNamed(store), `after ${steps} steps`);
        assert.deepEqual(await store.listRows(DOCUMENT, 1), [], `after ${steps} steps`);
      }
    });
  }

  it("[EP4] does not bring back what was removed", async () => {
    const { store } = await words();
    await replaceDocument(depsOf(store, BASE), DOCUMENT, { update: undefined, retired: [] });
    const before = await readHead(store, DOCUMENT);
    await assert.rejects(replaceDocument(depsOf(store, BASE), DOCUMENT, replacement), {
      code: "document_deleted",
    });
    assert.deepEqual(await readHead(store, DOCUMENT), before);
    assert.deepEqual(await store.listParts(DOCUMENT), []);
  });

  it("[EP3] rows that come after their epoch has ended are removed by a later compaction", async () => {
    const { updates, store } = await words();
    await replaceDocument(depsOf(store, BASE), DOCUMENT, replacement);
    await store.appendRows(rowsOf(updates, 90));
    assert.notEqual((await store.listRows(DOCUMENT, 1)).length, 0);
    await store.appendRows(rowsOf([contentUpdate("more")]).map((row) => ({ ...row, epoch: 2 })));
    await compact(depsOf(store, BASE), DOCUMENT);
    assert.deepEqual(await store.listRows(DOCUMENT, 1), []);
    assert.deepEqual(await contentIn(store), contentOfUpdates([replacement.update, contentUpdate("more")]));
  });
});

describe("what compaction writes", () => {
  it("[SN4] does not grow per byte typed with the size of the document", async () => {
    const small = await bytesPerByteTyped(10_000);
    const large = await bytesPerByteTyped(3_000_000);
    assert.ok(
      large < small * 2,
      `${large.toFixed(1)} bytes per byte in a large document, ${small.toFixed(1)} in a small one`,
    );
  });
});

/** Types into a document of this size, compacting as the room does, and counts what the store is given. */
async function bytesPerByteTyped(documentBytes: number): Promise<number> {
  const limits = { ...DEFAULT_LIMITS, compactRows: 100 };
  const store = memoryDocumentStore();
  const doc = new Y.Doc();
  const text = doc.getText("md");
  text.insert(0, incompressible(documentBytes));
  await store.appendRows(rowsOf([Y.encodeStateAsUpdate(doc)]));
  await compact(depsOf(store, limits), DOCUMENT);
  let written = 0;
  let typed = 0;
  let pending: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array) => pending.push(update));
  let rows = 1;
  for (let round = 0; round < 80; round += 1) {
    for (let i = 0; i < limits.compactRows; i += 1) {
      text.insert((round * 997) % text.length, "typed ");
      typed += 6;
    }
    await store.appendRows(rowsOf(pending, rows));
    written += pending.reduce((sum, update) => sum + update.length, 0);
    rows += pending.length;
    pending = [];
    written += (await compact(depsOf(store, limits), DOCUMENT)).partBytes;
  }
  assert.deepEqual(await contentIn(store), contentOf(doc));
  const { parts } = (await readHead(store, DOCUMENT)).head;
  assert.ok(parts.length <= 2 * limits.deltas, `${parts.length} parts to load`);
  return written / typed;
}

/** Text that zstd cannot shrink much, as prose of many people cannot. */
function incompressible(length: number): string {
  let state = 1;
  let text = "";
  while (text.length < length) {
    state = (state * 48_271) % 2_147_483_647;
    text += state.toString(36);
  }
  return text.slice(0, length);
}

/** A store whose operations each wait for a few turns, different with every seed: the interleavings of a race. */
function hopping(inner: DocumentStore, seed: number): DocumentStore {
  let state = (Math.abs(seed) % 2_147_483_646) + 1;
  return eachOperation(inner, async (_, work) => {
    state = (state * 48_271) % 2_147_483_647;
    for (let i = state % 7; i > 0; i -= 1) await Promise.resolve();
    return work();
  });
}
