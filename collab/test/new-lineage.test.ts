import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { createCompactor, type DocumentStore } from "@scriptorium/collab";
import { memoryDocumentStore } from "@scriptorium/collab/testing";
import fc from "fast-check";
import * as Y from "yjs";
import { beginLineage, type NewLineage } from "../src/new-lineage.ts";
import { applyStored } from "../src/part.ts";
import type { UpdateRow } from "../src/ports.ts";
import { headStream, loadDocument, type StoredDocument } from "../src/snapshot.ts";
import { saved, until } from "./support/harness.ts";
import { history, historyOf } from "./support/histories.ts";
import { openStage, textUpdate, type, type Stage } from "./support/stage.ts";

const EPOCH = 77_000_001;
const compactor = createCompactor();

function rowOf(update: Uint8Array, index: number): UpdateRow {
  return { document: "notes:x", epoch: 1, node: "a", seq: index + 1, at: 0, by: "ada", update };
}

function storedOf(updates: readonly Uint8Array[], retired: readonly number[] = []): StoredDocument {
  const head = { epoch: 1, parts: [], retired, deleted: false };
  return { head, at: 0, parts: [], rows: updates.map(rowOf) };
}

function begin(stored: StoredDocument, document = "notes:x"): Promise<NewLineage> {
  return beginLineage(stored, { document, epoch: EPOCH, compactor });
}

function loaded(stored: Pick<StoredDocument, "parts" | "rows">): Y.Doc {
  const doc = new Y.Doc();
  applyStored(doc, { parts: stored.parts, updates: stored.rows.map(({ update }) => update) }, undefined);
  return doc;
}

function docOf({ part }: NewLineage): Y.Doc {
  return loaded({ parts: part === undefined ? [] : [part.body], rows: [] });
}

const shown = (doc: Y.Doc): unknown => ({
  text: doc.getText("md").toDelta(),
  meta: doc.getMap("meta").toJSON(),
});

const clientsOf = (doc: Y.Doc): number[] => [...Y.decodeStateVector(Y.encodeStateVector(doc)).keys()];

/** Puts what a restore would make of a store into another one. */
async function restored(from: DocumentStore, name: string): Promise<DocumentStore> {
  const store = memoryDocumentStore();
  const { head, part } = await begin(await loadDocument(from, name), name);
  if (part !== undefined) await store.putPart(part);
  await store.heads.append(headStream(name), { at: 1, entry: { ...head } });
  return store;
}

describe("a new lineage", () => {
  it("[EP5] shows the same under ids of its own, and retires all that were there, for any history", async () => {
    await fc.assert(
      fc.asyncProperty(history, async (given) => {
        const { updates } = historyOf(given);
        const old = loaded(storedOf(updates));
        const { head, part, parked } = await begin(storedOf(updates, [4_711]));
        const doc = docOf({ head, part, parked });
        assert.deepEqual(shown(doc), shown(old));
        assert.equal(parked, old.store.pendingStructs !== null || old.store.pendingDs !== null);
        assert.deepEqual([doc.store.pendingStructs, doc.store.pendingDs], [null, null]);
        assert.ok(clientsOf(doc).every((client) => client >= 2 ** 32 && client < 2 ** 35));
        const retired = new Set(head.retired);
        assert.ok([4_711, ...clientsOf(old)].every((client) => retired.has(client)));
        assert.ok(clientsOf(doc).every((client) => !retired.has(client)));
        assert.deepEqual(
          [head.epoch, head.deleted, head.parts.length],
          [EPOCH, false, clientsOf(old).length > 0 ? 1 : 0],
        );
      }),
      { numRuns: 200 },
    );
  });

  it("[EP5] keeps the order of what was typed at one place at one time, whoever integrates it, and goes on", async () => {
    const docs = Array.from({ length: 6 }, () => new Y.Doc());
    for (const [author, doc] of docs.entries()) {
      doc.getText("md").insert(0, `<${author}>`);
      doc.getText("md").format(0, 1, { bold: true });
      const list = new Y.Array();
      doc.getMap("meta").set("list", list);
      list.push([new Y.Map([["author", author]]), "x"]);
    }
    const updates = docs.map((doc) => Y.encodeStateAsUpdate(doc));
    const old = loaded(storedOf(updates));
    const begun = await begin(storedOf(updates));
    const doc = docOf(begun);
    assert.deepEqual(shown(doc), shown(old));
    const other = docOf(begun);
    doc.getText("md").insert(4, "here");
    other.getText("md").insert(4, "there");
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(other));
    Y.applyUpdate(other, Y.encodeStateAsUpdate(doc));
    assert.deepEqual(shown(doc), shown(other));
  });

  it("[EP5] two restores of one backup have no id in common", async () => {
    const update = textUpdate("twice");
    const one = docOf(await begin(storedOf([update])));
    const two = docOf(await begin(storedOf([update])));
    assert.notDeepEqual(clientsOf(one), clientsOf(two));
  });
});

describe("a client of before a restore", () => {
  /** Ada and Bo have the text, and are away. */
  async function opened(t: TestContext): Promise<{ stage: Stage; name: string; docs: [Y.Doc, Y.Doc] }> {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await type(ada, ["one ", "two ", "three"]);
    await saved(ada);
    await until(() => bo.text.length === 13, "bo sees it");
    ada.destroy();
    bo.destroy();
    await until(() => stage.harness.collab.stats().documents === 0, "unloaded");
    return { stage, name: stage.name, docs: [ada.doc, bo.doc] };
  }

  const CHANGES: readonly (readonly [string, (text: Y.Text) => void])[] = [
    ["nothing", () => undefined],
    ["typed", (text) => text.insert(3, "!")],
    ["only deleted, which no state vector shows", (text) => text.delete(0, 8)],
  ];
  for (const [what, change] of CHANGES) {
    it(`[EP5] that has ${what} since is told to start over, in both dialects, and nothing is merged`, async (t) => {
      const { stage, name, docs } = await opened(t);
      const store = await restored(stage.harness.store, name);
      for (const doc of docs) change(doc.getText("md"));
      const later = await openStage(t, { store });
      const ada = later.provider("ada", { name, doc: docs[0] });
      const bo = later.yjs("bo", { name, doc: docs[1] });
      await until(() => ada.closes.includes(4410) && bo.closes.includes(4410), "both are told");
      const carl = later.provider("carl", { name });
      await until(() => carl.text.toJSON() === "one two three", "carl sees the backup");
      await type(carl, ["!"]);
      await saved(carl);
      const [row, ...more] = await store.readRows(name, EPOCH);
      assert.ok(row !== undefined && more.length === 0, "only carl's edit was taken");
      assert.equal(row.by, "carl");
    });
  }

  it("[EP5] that was opened anew after the restore is let in", async (t) => {
    const { stage, name } = await opened(t);
    const later = await openStage(t, { store: await restored(stage.harness.store, name) });
    const doc = new Y.Doc();
    doc.getText("md").insert(0, "typed before it was synced ");
    const ada = later.provider("ada", { name, doc });
    await saved(ada);
    assert.deepEqual(ada.closes, []);
    assert.equal(ada.text.length, 27 + 13);
  });
});
