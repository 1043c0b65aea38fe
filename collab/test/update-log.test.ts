import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_LIMITS, type UpdateRow } from "@scriptorium/collab";
import { faultyStore, memoryDocumentStore } from "@scriptorium/collab/testing";
import fc from "fast-check";
import * as Y from "yjs";
import { HEALTHY, stepStoreHealth, type StoreHealth, type StoreHealthEvent } from "../src/store-health.ts";
import { UpdateLog } from "../src/update-log.ts";
import { saved, until } from "./support/harness.ts";
import { statuses, update } from "./support/raw-client.ts";
import { openStage, textUpdate, type } from "./support/stage.ts";

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

function row(seq: number, bytes = 10): UpdateRow {
  return {
    document: "d",
    epoch: 1,
    node: "n",
    seq,
    at: 0,
    by: "ada",
    update: new Uint8Array(bytes).fill(seq),
  };
}

describe("the update log", () => {
  it("[DL4] commits together what arrives while a commit is in flight", async () => {
    const faulty = faultyStore(memoryDocumentStore());
    const batches: number[] = [];
    const store = {
      appendRows: async (rows: readonly UpdateRow[]) => {
        batches.push(rows.length);
        await faulty.store.appendRows(rows);
      },
    };
    const updates = new UpdateLog({
      store,
      limits: DEFAULT_LIMITS,
      now: Date.now,
      log,
      paceMs: () => 0,
      onWritable: () => undefined,
      onCommitted: () => undefined,
    });
    faulty.inject({ kind: "stall" });
    updates.append(row(1));
    await until(() => faulty.stalled === 1, "the first commit is in flight");
    for (let seq = 2; seq <= 6; seq += 1) updates.append(row(seq));
    assert.equal(faulty.stalled, 1);
    faulty.heal();
    await updates.flushed();
    assert.deepEqual(batches, [1, 5]);
    updates.stop();
  });

  it("[DL4] a commit stays within commitRows and commitBytes, and takes one row of any size", async () => {
    const sizes: number[][] = [];
    const limits = { ...DEFAULT_LIMITS, commitRows: 3, commitBytes: 100 };
    const store = {
      appendRows: async (rows: readonly UpdateRow[]) => {
        sizes.push(rows.map((one) => one.update.length));
      },
    };
    const updates = new UpdateLog({
      store,
      limits,
      now: Date.now,
      log,
      paceMs: () => 0,
      onWritable: () => undefined,
      onCommitted: () => undefined,
    });
    for (const [index, bytes] of [10, 10, 10, 10, 500, 60, 50, 40].entries())
      updates.append(row(index + 1, bytes));
    await updates.flushed();
    assert.deepEqual(sizes, [[10, 10, 10], [10], [500], [60], [50, 40]]);
    assert.equal(updates.uncommittedBytes, 0);
    updates.stop();
  });

  it("[DL1] [DL5] releases waiters in order, each once, and only when their rows are durable", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ rows: fc.nat({ max: 3 }), fails: fc.nat({ max: 1 }) }), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.integer({ min: 1, max: 4 }),
        async (steps, commitRows) => {
          const inner = memoryDocumentStore();
          const durable = new Set<number>();
          let failures = 0;
          const store = {
            appendRows: async (rows: readonly UpdateRow[]) => {
              if (failures > 0) {
                failures -= 1;
                // Half of it lands all the same.
                await inner.appendRows(rows.slice(0, rows.length / 2));
                throw new Error("the store fails");
              }
              await inner.appendRows(rows);
              for (const { seq } of rows) durable.add(seq);
            },
          };
          const limits = { ...DEFAULT_LIMITS, commitRows };
          const updates = new UpdateLog({
            store,
            limits,
            now: Date.now,
            log,
            paceMs: () => 0,
            onWritable: () => undefined,
            onCommitted: () => undefined,
          });
          const released: number[] = [];
          let seq = 0;
          for (const step of steps) {
            failures = step.fails;
            for (let i = 0; i < step.rows; i += 1) updates.append(row((seq += 1)));
            const position = seq;
            updates.whenCommitted(position, {
              committed: () => {
                for (let i = 1; i <= position; i += 1) assert.ok(durable.has(i), `row ${i} is durable`);
                released.push(position);
              },
            });
            await new Promise((resolve) => setImmediate(resolve));
          }
          await updates.flushed();
          assert.equal(released.length, steps.length);
          assert.deepEqual(
            released,
            released.toSorted((a, b) => a - b),
          );
          assert.equal((await inner.readRows("d", 1)).length, seq);
          updates.stop();
        },
      ),
      { numRuns: 30, seed: 20_260_401 },
    );
  });

  it("[DL1] what a provider counts as saved is in the store at that very moment", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    await saved(ada);
    const looks: Promise<{ typed: string; stored: string }>[] = [];
    ada.provider.on("unsyncedChanges", ({ number }: { number: number }) => {
      if (number > 0) return;
      const typed = ada.text.toJSON();
      const rows = stage.harness.store.readRows(stage.name, 1);
      looks.push(rows.then((found) => ({ typed, stored: textOfRows(found) })));
    });
    for (let round = 0; round < 20; round += 1) {
      await type(ada, ["a", "b", "c"].slice(round % 3));
      await saved(ada);
    }
    const seen = await Promise.all(looks);
    assert.ok(seen.length >= 20);
    for (const { typed, stored } of seen) assert.equal(stored, typed);
  });

  it("[DL6] logs an update that waits for a missing one, and integrates both when that one comes", async (t) => {
    const stage = await openStage(t);
    const raw = await stage.rawCollab("ada");
    const doc = new Y.Doc();
    const updates: Uint8Array[] = [];
    doc.on("update", (bytes: Uint8Array) => updates.push(bytes));
    for (const word of ["one ", "two ", "three "]) doc.getText("md").insert(doc.getText("md").length, word);
    const [first, second, third] = updates;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    raw.send(update(stage.name, third), update(stage.name, second));
    await until(() => statuses(raw, stage.name).length === 2, "both are acknowledged");
    assert.equal(await stage.freshText(), "", "nothing to see yet");
    raw.destroy();
    await until(() => stage.harness.collab.stats().documents === 0, "unloaded");
    // The author is gone for good; what is missing comes from somebody else.
    const other = await stage.rawYjs("bo");
    other.send(update(undefined, first));
    const carl = stage.provider("carl");
    await until(() => carl.text.toJSON() === "one two three ", "all three are integrated");
    await saved(carl);
    assert.equal(await stage.freshText(), "one two three ");
  });

  it("[DL5] [DL3] a document that is unloaded and loaded again never reuses the number of a row", async (t) => {
    const stage = await openStage(t);
    for (let round = 0; round < 4; round += 1) {
      const ada = stage.provider("ada");
      await saved(ada);
      await type(ada, [`${round} `, `${round} `]);
      await saved(ada);
      ada.destroy();
      await until(() => stage.harness.collab.stats().documents === 0, "unloaded");
    }
    assert.equal(await stage.freshText(), "0 0 1 1 2 2 3 3 ");
    const rows = await stage.harness.store.readRows(stage.name, 1);
    assert.equal(new Set(rows.map(({ node, seq }) => `${node}/${seq}`)).size, rows.length);
  });

  it("[DL2] [DL6] an update that adds nothing writes no row", async (t) => {
    const stage = await openStage(t);
    const raw = await stage.rawCollab("ada");
    const once = textUpdate("once");
    for (let i = 0; i < 5; i += 1) raw.send(update(stage.name, once));
    await until(() => statuses(raw, stage.name).length === 5, "five acknowledgements");
    const rows = await stage.harness.store.readRows(stage.name, 1);
    assert.equal(rows.length, 1);
    assert.equal(rows[0]?.by, "ada");
  });
});

function textOfRows(rows: readonly UpdateRow[]): string {
  const doc = new Y.Doc();
  for (const one of rows) Y.applyUpdate(doc, one.update);
  return doc.getText("md").toJSON();
}

const event: fc.Arbitrary<StoreHealthEvent> = fc.oneof(
  fc.record({ type: fc.constant("failed" as const), now: fc.nat({ max: 1_000 }) }),
  fc.record({ type: fc.constant("committed" as const), backlogBytes: fc.nat({ max: 200 }) }),
  fc.record({
    type: fc.constant("tick" as const),
    now: fc.nat({ max: 1_000 }),
    oldest: fc.option(fc.nat({ max: 1_000 }), { nil: undefined }),
    backlogBytes: fc.nat({ max: 200 }),
  }),
);

describe("the health of the store", () => {
  const bounds = { storeGraceMs: 100, uncommittedBytes: 100 };

  it("[SH2] [SH3] closes writes and opens them strictly in turns, whatever happens", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        let health: StoreHealth = HEALTHY;
        let writable = true;
        for (const next of events) {
          const { health: after, effect } = stepStoreHealth(health, next, bounds);
          if (effect === "close-writes") assert.equal(writable, true);
          if (effect === "open-writes") assert.equal(writable, false);
          if (effect !== undefined) writable = effect === "open-writes";
          assert.equal(after.state !== "read-only", writable, "the effects tell of every change");
          // Only a commit helps, and only when most of the backlog is gone.
          if (health.state === "read-only" && after.state !== "read-only")
            assert.ok(next.type === "committed" && next.backlogBytes <= bounds.uncommittedBytes / 2);
          health = after;
        }
      }),
      { numRuns: 500, seed: 20_260_402 },
    );
  });

  it("[SH2] stays writable within the grace time and the bytes, and not a tick longer", () => {
    const tick = (oldest: number | undefined, backlogBytes: number): string =>
      stepStoreHealth(HEALTHY, { type: "tick", now: 1_000, oldest, backlogBytes }, bounds).health.state;
    assert.equal(tick(undefined, 0), "healthy");
    assert.equal(tick(901, 100), "healthy");
    assert.equal(tick(900, 0), "read-only");
    assert.equal(tick(undefined, 101), "read-only");
    const failing = stepStoreHealth(HEALTHY, { type: "failed", now: 5 }, bounds).health;
    assert.deepEqual(failing, { state: "failing", since: 5 });
    assert.deepEqual(stepStoreHealth(failing, { type: "failed", now: 9 }, bounds).health, failing);
  });
});
