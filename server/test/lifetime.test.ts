import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLifetime } from "../src/testing/lifetime.ts";

const never = (): void => assert.fail("the process does not end here");

describe("what was started", () => {
  it("ends in reverse order, each after the other, also when one fails, which is told at last", async () => {
    const lifetime = createLifetime();
    const events: string[] = [];
    for (const name of ["first", "second", "third"]) {
      const end = async () => {
        await new Promise(setImmediate);
        events.push(name);
        if (name === "second") throw new Error("the second cannot end");
      };
      assert.equal(
        await lifetime.start(
          async () => name,
          () => ({ end, endNow: never }),
        ),
        name,
      );
    }
    await assert.rejects(lifetime.end(), /the second cannot end/);
    assert.deepEqual(events, ["third", "second", "first"]);
    await assert.rejects(lifetime.end(), /the second cannot end/, "asked again, it tells the same");
    assert.equal(events.length, 3, "and ends nothing twice");
  });

  it("is waited for when the end comes in the middle of its start, and nothing starts after that", async () => {
    const lifetime = createLifetime();
    const { promise, resolve } = Promise.withResolvers<string>();
    const events: string[] = [];
    const starting = lifetime.start(
      () => promise,
      (name) => ({ end: async () => void events.push(`${name} has ended`), endNow: never }),
    );
    const ended = lifetime.end().then(() => events.push("all has ended"));
    await assert.rejects(
      lifetime.start(
        async () => assert.fail("it starts"),
        () => ({ end: async () => undefined, endNow: never }),
      ),
      /the end has begun/,
    );
    assert.deepEqual(events, []);
    resolve("late");
    assert.equal(await starting, "late");
    await ended;
    assert.deepEqual(events, ["late has ended", "all has ended"]);
  });

  it("that could not start is its caller's to know, and ends nothing", async () => {
    const lifetime = createLifetime();
    await assert.rejects(
      lifetime.start(
        () => Promise.reject(new Error("no")),
        () => assert.fail("there is nothing to end"),
      ),
      /^Error: no$/,
    );
    await lifetime.end();
  });

  it("leaves no listener on the process", async () => {
    const listeners = () => ["SIGINT", "SIGTERM", "exit"].map((event) => process.listenerCount(event));
    const before = listeners();
    const lifetime = createLifetime();
    assert.deepEqual(
      listeners(),
      before.map((count) => count + 1),
    );
    await lifetime.end();
    assert.deepEqual(listeners(), before);
  });
});
