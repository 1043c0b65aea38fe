import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { createCompactor } from "@scriptorium/collab";
import * as Y from "yjs";
import { applyPart } from "../src/part.ts";
import { saved, until } from "./support/harness.ts";
import { openStage, type } from "./support/stage.ts";

/** Counts the worker threads that are started while the test runs. */
function countWorkers(t: TestContext): () => number {
  let count = 0;
  const counted = (): void => {
    count += 1;
  };
  process.on("worker", counted);
  t.after(() => process.off("worker", counted));
  return () => count;
}

function updateOf(length: number): Uint8Array {
  const doc = new Y.Doc();
  for (let i = 0; i < length; i += 100) doc.getText("md").insert(0, `${i}`.padEnd(100));
  return Y.encodeStateAsUpdate(doc);
}

describe("the compactor", () => {
  it("[SN5] merges what is large in a worker thread and what is small in place, to the same end", async (t) => {
    const workers = countWorkers(t);
    const compactor = createCompactor();
    for (const [length, started] of [
      [10_000, 0],
      [400_000, 1],
    ] as const) {
      const update = updateOf(length);
      const body = await compactor.merge({ kind: "base", parts: [], updates: [update] });
      const doc = new Y.Doc();
      applyPart(doc, body, undefined);
      assert.equal(doc.getText("md").length, length);
      assert.equal(workers(), started);
    }
    await compactor.stop();
  });

  it("[SN5] a merge that fails in its thread is a rejection, and stopping ends what is running", async (t) => {
    const workers = countWorkers(t);
    const compactor = createCompactor();
    const damaged = new Uint8Array(200_000).fill(7);
    await assert.rejects(compactor.merge({ kind: "base", parts: [damaged], updates: [] }));
    const running = compactor.merge({ kind: "base", parts: [], updates: [updateOf(2_000_000)] });
    const rejected = assert.rejects(running);
    await compactor.stop();
    await rejected;
    assert.equal(workers(), 2);
  });

  it("[SN1] compacts a live document under its writers, who notice nothing", async (t) => {
    const stage = await openStage(t, { limits: { compactRows: 20, messagesPerSecond: 10_000 } });
    const { collab } = stage.harness;
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await saved(ada);
    await until(() => bo.provider.synced, "bo is synced");
    for (let round = 0; round < 10; round += 1) {
      await type(ada, ["a ", "b ", "c ", "d ", "e "]);
      await type(bo, ["1 ", "2 ", "3 ", "4 ", "5 "]);
      await saved(ada);
    }
    await until(() => ada.text.length === 200 && bo.text.toJSON() === ada.text.toJSON(), "equal texts");
    await until(() => collab.stats().compactions >= 2, "compacted twice");
    assert.equal(await stage.freshText(), ada.text.toJSON());
    const rows = await stage.harness.store.readRows(stage.name, 1);
    assert.ok(rows.length < 60, `${rows.length} rows are left`);
    assert.deepEqual([...ada.closes, ...bo.closes], []);
  });

  it("[SN1] [SN7] keeps the rows when compaction fails, and goes on serving the document", async (t) => {
    const stage = await openStage(t, { limits: { compactRows: 5 } });
    stage.faulty.inject({ kind: "fail", times: Number.POSITIVE_INFINITY }, ["putPart"]);
    const ada = stage.provider("ada");
    await saved(ada);
    const words = Array.from({ length: 30 }, (_, i) => `${i} `);
    for (const word of words) {
      await type(ada, [word]);
      await saved(ada);
    }
    await until(
      () => stage.harness.logged.some(({ message }) => message.startsWith("compaction failed")),
      "a compaction has failed",
    );
    assert.equal(await stage.freshText(), words.join(""));
    assert.deepEqual(ada.closes, []);
  });
});
