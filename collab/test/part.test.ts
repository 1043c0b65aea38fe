import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import * as Y from "yjs";
import { applyPart, applyStored, mergeParts, mergeTree } from "../src/part.ts";
import { contentOf, history, historyOf } from "./support/histories.ts";

describe("parts", () => {
  it("[SN1] a part of either kind holds what its updates hold, parked ones included", () => {
    fc.assert(
      fc.property(history, fc.constantFrom("base" as const, "delta" as const), (given, kind) => {
        const { updates } = historyOf(given);
        const direct = new Y.Doc();
        applyStored(direct, { parts: [], updates }, undefined);
        const packed = new Y.Doc();
        applyPart(packed, mergeParts({ kind, parts: [], updates }), undefined);
        assert.deepEqual(contentOf(packed), contentOf(direct));
      }),
      { numRuns: 60, seed: 20_260_101 },
    );
  });

  it("[SN1] a base over earlier parts and rows holds all of them, in any order and with repetitions", () => {
    fc.assert(
      fc.property(history, fc.nat(), (given, cut) => {
        const { updates } = historyOf(given);
        const at = cut % (updates.length + 1);
        const first = mergeParts({ kind: "base", parts: [], updates: updates.slice(0, at) });
        const second = mergeParts({ kind: "delta", parts: [], updates: updates.slice(at) });
        const body = mergeParts({
          kind: "base",
          parts: [first, second, first],
          updates: updates.toReversed(),
        });
        const packed = new Y.Doc();
        applyPart(packed, body, undefined);
        const direct = new Y.Doc();
        applyStored(direct, { parts: [], updates }, undefined);
        assert.deepEqual(contentOf(packed), contentOf(direct));
      }),
      { numRuns: 60, seed: 20_260_102 },
    );
  });

  it("[SN1] merging as a tree gives what merging at once gives, for any number of updates", () => {
    for (const count of [0, 1, 2, 63, 64, 65, 200, 4_100]) {
      const doc = new Y.Doc();
      const updates: Uint8Array[] = [];
      doc.on("update", (update: Uint8Array) => updates.push(update));
      for (let i = 0; i < count; i += 1) doc.getText("md").insert(i % 7 === 0 ? 0 : i, "x");
      const merged = new Y.Doc();
      Y.applyUpdate(merged, mergeTree(updates));
      assert.deepEqual(contentOf(merged), contentOf(doc));
    }
  });

  it("[SN7] a body that is damaged anywhere, or not one at all, throws", () => {
    const doc = new Y.Doc();
    doc.getText("md").insert(0, "some text that compresses, some text that compresses");
    const body = mergeParts({ kind: "base", parts: [], updates: [Y.encodeStateAsUpdate(doc)] });
    const bodies = [
      new Uint8Array(),
      Uint8Array.of(2),
      Uint8Array.of(9, ...body.subarray(1)),
      body.subarray(0, body.length - 1),
      body.subarray(0, body.length / 2),
      Uint8Array.from(body, (byte, i) => (i === 3 ? byte ^ 0xff : byte)),
    ];
    for (const damaged of bodies) assert.throws(() => applyPart(new Y.Doc(), damaged, undefined));
  });
});
