import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCompactor, DEFAULT_LIMITS, type CollabLimits, type DocumentStore } from "@scriptorium/collab";
import { faultyStore, memoryDocumentStore } from "@scriptorium/collab/testing";
import fc from "fast-check";
import * as Y from "yjs";
import { applyStored } from "../src/part.ts";
import { compact, headStream, loadDocument, readHead, type CompactionDeps } from "../src/snapshot.ts";
import { contentOf, history, historyOf } from "./support/histories.ts";

const DOCUMENT = "notes:under-test";
const NODES = ["a", "b", "c"];
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
            const later = depsOf(inner, BASE, () => Date.now() + 2 * DEFAULT_LIMITS.orphanMs);
            await compact(later, DOCUMENT);
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
    while (slow.stalled === 0) await new Promise((resolve) => setImmediate(resolve));
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
    while (faulty.stalled === 0) await new Promise((resolve) => setImmediate(resolve));
    await inner.appendRows(late);
    faulty.heal();
    assert.equal((await running).rows, all.length - late.length);
    assert.deepEqual(
      (await inner.readRows(DOCUMENT, 1)).map(({ node, seq }) => `${node}${seq}`).toSorted(),
      late.map(({ node, seq }) => `${node}${seq}`).toSorted(),
    );
    assert.deepEqual(await contentIn(inner), contentOfUpdates(updates));
  });

  it("[SN6] sweeps parts that no head names once they are old, and no sooner", async () => {
    const doc = new Y.Doc();
    doc.getText("md").insert(0, "text");
    const updates = [Y.encodeStateAsUpdate(doc)];
    const store = await prepared([...updates, ...updates], 1);
    await store.putPart({ id: "orphan", document: DOCUMENT, body: Uint8Array.of(1) });
    await compact(depsOf(store, BASE), DOCUMENT);
    assert.ok(await store.getPart(DOCUMENT, "orphan"), "another compaction may be about to name it");
    await store.appendRows(rowsOf(updates, 90));
    await compact(
      depsOf(store, BASE, () => Date.now() + DEFAULT_LIMITS.orphanMs + 1_000),
      DOCUMENT,
    );
    assert.equal(await store.getPart(DOCUMENT, "orphan"), undefined);
    assert.deepEqual(await contentIn(store), contentOfUpdates(updates));
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
  const hop = async <T>(work: () => Promise<T>): Promise<T> => {
    state = (state * 48_271) % 2_147_483_647;
    for (let i = state % 7; i > 0; i -= 1) await Promise.resolve();
    return work();
  };
  return {
    heads: {
      append: (...args) => hop(() => inner.heads.append(...args)),
      read: (...args) => hop(() => inner.heads.read(...args)),
      head: (...args) => hop(() => inner.heads.head(...args)),
      trim: (...args) => hop(() => inner.heads.trim(...args)),
    },
    appendRows: (...args) => hop(() => inner.appendRows(...args)),
    readRows: (...args) => hop(() => inner.readRows(...args)),
    listRows: (...args) => hop(() => inner.listRows(...args)),
    getRows: (...args) => hop(() => inner.getRows(...args)),
    removeRows: (...args) => hop(() => inner.removeRows(...args)),
    putPart: (...args) => hop(() => inner.putPart(...args)),
    getPart: (...args) => hop(() => inner.getPart(...args)),
    removeParts: (...args) => hop(() => inner.removeParts(...args)),
    listParts: (...args) => hop(() => inner.listParts(...args)),
    purgeRows: (...args) => hop(() => inner.purgeRows(...args)),
  };
}
