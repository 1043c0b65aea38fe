import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createRounds } from "../../src/cluster/rounds.ts";
import { until } from "../support/site.ts";

/** Rounds that end when the test says so. */
function held(options: { everyMs?: number; slowestMs?: number } = {}) {
  const open: PromiseWithResolvers<undefined>[] = [];
  const failures: unknown[] = [];
  const rounds = createRounds({
    work: async () => {
      const round = Promise.withResolvers<undefined>();
      open.push(round);
      await round.promise;
    },
    everyMs: 3_600_000,
    slowestMs: 3_600_000,
    ...options,
    onFailure: (error) => failures.push(error),
  });
  return { rounds, open, failures };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("rounds", () => {
  it("never overlap, and whoever asks during one gets another, shared with all who ask by then", async () => {
    const { rounds, open } = held();
    const done: string[] = [];
    const ask = (name: string) => rounds.run().then(() => done.push(name));
    const asked = [ask("first"), ask("second"), ask("third")];
    await settled();
    assert.equal(open.length, 1);
    open[0]?.resolve(undefined);
    await settled();
    assert.deepEqual([done, open.length], [["first"], 2]);
    asked.push(ask("fourth"));
    await settled();
    assert.equal(open.length, 2);
    open[1]?.resolve(undefined);
    await settled();
    assert.deepEqual([done, open.length], [["first", "second", "third"], 3]);
    open[2]?.resolve(undefined);
    await Promise.all(asked);
    await settled();
    assert.equal(open.length, 3);
  });

  it("that fail are told of, and the next one begins all the same", async () => {
    const { rounds, open, failures } = held();
    const first = rounds.run();
    rounds.soon();
    open[0]?.reject(new Error("one"));
    await assert.rejects(first, /one/);
    await settled();
    assert.equal(open.length, 2);
    open[1]?.reject(new Error("two"));
    await settled();
    assert.deepEqual(failures, [new Error("two")]);
  });

  it("go on by themselves, also after failures, until the stop, which waits for the one under way", async () => {
    const { rounds, open, failures } = held({ everyMs: 1, slowestMs: 2 });
    rounds.start();
    for (let i = 0; i < 6; i += 1) {
      await until(() => open.length > i, "a round begins");
      if (i % 2 === 0) open[i]?.resolve(undefined);
      else open[i]?.reject(new Error("no luck"));
    }
    await until(() => open.length === 7, "a round begins");
    let stopped = false;
    const stop = rounds.stop().then(() => (stopped = true));
    await settled();
    assert.equal(stopped, false);
    open[6]?.resolve(undefined);
    await stop;
    await rounds.run();
    assert.deepEqual([open.length, failures.length], [7, 3]);
  });
});
