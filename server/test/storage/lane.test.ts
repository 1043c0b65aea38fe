import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { Failure } from "@scriptorium/shared";
import { createLane } from "../../src/storage/adapters/sqlite/lane.ts";
import type { Lane, LaneLimits } from "../../src/storage/adapters/sqlite/lane.ts";
import { SQLITE_LIMITS } from "../../src/storage/adapters/sqlite/open.ts";
import { SILENT } from "./temporary-store.ts";

interface Calls {
  echo: { input: object; output: object };
  hold: { input: object; output: undefined };
  die: { input: object; output: undefined };
  full: { input: object; output: undefined };
  bug: { input: object; output: undefined };
}

interface Bench {
  readonly lane: Lane<Calls>;
  readonly started: () => number;
  readonly clock: { ms: number };
}

async function withLane(limits: Partial<LaneLimits>, run: (bench: Bench) => Promise<void>): Promise<void> {
  const clock = { ms: 0 };
  let starts = 0;
  const start = (): Worker => {
    starts += 1;
    return new Worker(new URL("./fixtures/lane-thread.ts", import.meta.url));
  };
  const deps = {
    name: "test",
    start,
    log: SILENT,
    limits: { ...SQLITE_LIMITS, ...limits },
    now: () => clock.ms,
  };
  const lane = createLane<Calls>(deps);
  await lane.start();
  try {
    await run({ lane, started: () => starts, clock });
  } finally {
    await lane.stop();
  }
}

function isFailure(code: string) {
  return (error: unknown): boolean => error instanceof Failure && error.code === code;
}

describe("lane", () => {
  it("answers each call with its own result", async () => {
    await withLane({}, async ({ lane }) => {
      const answers = await Promise.all([1, 2, 3].map((n) => lane.call("echo", { n })));
      assert.deepEqual(answers, [{ n: 1 }, { n: 2 }, { n: 3 }]);
      assert.deepEqual(
        { ...lane.stats() },
        { commits: 1, storedBytes: 10, calls: 3, queuedCalls: 0, queuedBytes: 0 },
      );
    });
  });

  it("tells a machine that cannot from a call that is wrong", async () => {
    await withLane({}, async ({ lane }) => {
      await assert.rejects(lane.call("full", {}), isFailure("try_later"));
      await assert.rejects(lane.call("bug", {}), (error: unknown) => !(error instanceof Failure));
      assert.deepEqual(await lane.call("echo", { still: "there" }), { still: "there" });
    });
  });

  it("rejects all that wait when the thread dies, and starts it again for the next call", async () => {
    await withLane({}, async ({ lane, started }) => {
      const lost = [lane.call("hold", {}, { bytes: 5 }), lane.call("die", {}), lane.call("echo", {})];
      for (const outcome of await Promise.allSettled(lost)) {
        assert.ok(outcome.status === "rejected" && isFailure("try_later")(outcome.reason));
      }
      assert.equal(lane.stats().queuedCalls, 0);
      assert.equal(lane.stats().queuedBytes, 0);
      assert.deepEqual(await lane.call("echo", { again: true }), { again: true });
      assert.equal(started(), 2);
    });
  });

  it("waits longer before each restart of a thread that dies at once, and no longer than its bound", async () => {
    await withLane({ restartMs: 100, restartMaxMs: 250 }, async ({ lane, started, clock }) => {
      const waits: number[] = [];
      for (let round = 0; round < 5; round += 1) {
        const from = clock.ms;
        // While it is down every call is refused at once; the clock is turned by hand until one gets through.
        for (let threads = started(); ; clock.ms += 50) {
          await assert.rejects(lane.call("die", {}), isFailure("try_later"));
          if (started() > threads || (round === 0 && threads === 1)) break;
        }
        waits.push(clock.ms - from);
      }
      assert.deepEqual(waits, [0, 0, 100, 200, 250]);
    });
  });

  it("refuses what is more than it may hold", async () => {
    await withLane({ queuedCalls: 3, queuedBytes: 100 }, async ({ lane }) => {
      const held = [lane.call("hold", {}, { bytes: 60 }), lane.call("hold", {}, { bytes: 30 })];
      await assert.rejects(lane.call("echo", {}, { bytes: 11 }), isFailure("overloaded"));
      assert.deepEqual(await lane.call("echo", {}, { bytes: 10 }), {});
      held.push(lane.call("hold", {}));
      await assert.rejects(lane.call("echo", {}), isFailure("overloaded"));
      await assert.rejects(lane.call("echo", {}), isFailure("overloaded"));
      // The fixture never answers them: they end with the thread.
      const ended = Promise.allSettled(held);
      await lane.stop();
      assert.ok((await ended).every((outcome) => outcome.status === "rejected"));
      await assert.rejects(lane.call("echo", {}), isFailure("restarting"));
    });
  });

  it("ends a thread by force that does not end by itself", async () => {
    const start = (): Worker => new Worker("setInterval(() => 1, 1000)", { eval: true });
    const lane = createLane<Calls>({
      name: "deaf",
      start,
      log: SILENT,
      limits: { ...SQLITE_LIMITS, stopMs: 1 },
    });
    const opened = assert.rejects(lane.start());
    await lane.stop();
    await opened;
  });
});
