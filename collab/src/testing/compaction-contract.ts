import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { newId } from "@scriptorium/shared";
import type { Opened } from "@scriptorium/shared/testing";
import fc from "fast-check";
import * as Y from "yjs";
import { createCompactor } from "../adapters/compactor.ts";
import { DEFAULT_LIMITS, type CollabLimits } from "../limits.ts";
import { applyStored } from "../part.ts";
import type { DocumentStore } from "../ports.ts";
import { compact, loadDocument, readHead, type CompactionDeps } from "../snapshot.ts";
import { KINDS, processes, race } from "./compaction-races.ts";
import { faultyStore } from "./faulty-store.ts";

const NODES = ["a", "b", "c"];
/** A crash at every step costs some thousand operations of a real store. */
const RUNS = 2;

/** What somebody types: an insert, or a delete of what stands there. */
const edits = fc.array(
  fc.record({ at: fc.nat({ max: 1_000 }), text: fc.constantFrom("a", "word ", "论文 ", "👩‍🔬", "") }),
  { minLength: 6, maxLength: 20 },
);
type Edits = typeof edits extends fc.Arbitrary<infer T> ? T : never;

function updatesOf(typed: Edits): Uint8Array[] {
  const doc = new Y.Doc();
  const updates: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array) => updates.push(update));
  const body = doc.getText("md");
  for (const { at, text } of typed) {
    const place = at % (body.length + 1);
    if (text !== "") body.insert(place, text);
    else if (place < body.length) body.delete(place, 1);
  }
  return updates;
}

function rowsOf(document: string, updates: readonly Uint8Array[], from = 0) {
  return updates.map((update, index) => ({
    document,
    epoch: 1,
    node: NODES[(from + index) % NODES.length] ?? "a",
    seq: Math.floor((from + index) / NODES.length) + 1,
    at: 0,
    by: "ada",
    update,
  }));
}

function contentOf(stored: { parts: readonly Uint8Array[]; updates: readonly Uint8Array[] }): unknown {
  const doc = new Y.Doc();
  applyStored(doc, stored, undefined);
  return { text: doc.getText("md").toJSON(), vector: [...Y.encodeStateVector(doc)] };
}

/** What a server that starts now would load. */
async function contentIn(store: DocumentStore, document: string): Promise<unknown> {
  const { parts, rows } = await loadDocument(store, document);
  return contentOf({ parts, updates: rows.map((row) => row.update) });
}

interface OpenedNodes extends Opened<DocumentStore> {
  /** The same data as other nodes see it, by clocks of their own. */
  readonly others?: readonly DocumentStore[];
}

/**
 * The compaction protocol over an implementation of `DocumentStore`: a crash after any step, and a race, with the real
 * delays of that store. `open` is called once for the suite.
 */
export function compactionContract(
  name: string,
  open: () => Promise<OpenedNodes>,
  { races = 20 }: { readonly races?: number } = {},
): void {
  describe(`compaction on ${name}`, () => {
    const compactor = createCompactor();
    let opened: OpenedNodes;
    let store: DocumentStore;
    before(async () => {
      opened = await open();
      store = opened.subject;
    });
    after(async () => {
      await compactor.stop();
      await opened.close();
    });

    const depsOf = (over: DocumentStore, limits: Partial<CollabLimits> = {}): CompactionDeps => {
      const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
      return { store: over, compactor, limits: { ...DEFAULT_LIMITS, ...limits }, now: Date.now, log };
    };

    /** A new document with a base, deltas on top of it and rows beside them. */
    async function prepared(updates: readonly Uint8Array[], compactions: number): Promise<string> {
      const document = `notes:${newId()}`;
      const share = Math.ceil(updates.length / (compactions + 1));
      for (let i = 0; i <= compactions; i += 1) {
        await store.appendRows(rowsOf(document, updates.slice(i * share, (i + 1) * share), i * share));
        if (i < compactions) await compact(depsOf(store, KINDS.delta), document);
      }
      return document;
    }

    for (const [kind, limits] of Object.entries(KINDS)) {
      it(`[SN1] loses nothing when a ${kind} compaction stops after any of its steps`, async () => {
        await fc.assert(
          fc.asyncProperty(edits, fc.nat({ max: 2 }), async (typed, compactions) => {
            const updates = updatesOf(typed);
            const expected = contentOf({ parts: [], updates });
            for (let steps = 0, ended = false; !ended; steps += 1) {
              const document = await prepared(updates, compactions);
              const faulty = faultyStore(store);
              faulty.inject({ kind: "crash", after: steps });
              const [outcome] = await Promise.allSettled([compact(depsOf(faulty.store, limits), document)]);
              assert.deepEqual(await contentIn(store, document), expected, `after ${steps} steps`);
              // Another process takes over where this one died.
              await compact(depsOf(store, KINDS.base), document);
              assert.deepEqual(
                await contentIn(store, document),
                expected,
                `after ${steps} steps and another`,
              );
              ended = outcome.status === "fulfilled";
            }
          }),
          { numRuns: RUNS, seed: 20_260_301 },
        );
      });
    }

    it("[SN2] [SN3] of compactions that race one wins, and readers see the whole document all the while", async () => {
      await fc.assert(
        fc.asyncProperty(edits, fc.nat({ max: 2 }), async (typed, compactions) => {
          const updates = updatesOf(typed);
          const expected = contentOf({ parts: [], updates });
          const document = await prepared(updates, compactions);
          const contenders = Object.values(KINDS).map((limits) => compact(depsOf(store, limits), document));
          const readers = [1, 2, 3].map(() => contentIn(store, document));
          const outcomes = await Promise.allSettled(contenders);
          for (const seen of await Promise.all(readers)) assert.deepEqual(seen, expected);
          assert.deepEqual(await contentIn(store, document), expected);
          // A store may be unable to say who won: that part stays until it is swept.
          if (outcomes.some(({ status }) => status === "rejected")) return;
          const named = (await readHead(store, document)).head.parts.map(({ id }) => id);
          const stored = (await store.listParts(document)).map(({ id }) => id);
          assert.deepEqual(stored.toSorted(), named.toSorted(), "the losers took their parts back");
        }),
        { numRuns: 10 * RUNS, seed: 20_260_302 },
      );
    });

    it("[SN6] [SN8] [EP3] keeps what is committed, and nothing else, whatever the clocks say and whoever is stopped or dies", async () => {
      await fc.assert(
        fc.asyncProperty(processes, fc.scheduler(), (given, scheduler) =>
          race({ stores: [store, ...(opened.others ?? [])], compactor, scheduler }, given),
        ),
        { numRuns: races, seed: 20_260_303 },
      );
    });
  });
}
