import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createFarewells } from "../../src/cluster/farewells.ts";

describe("the farewells of closed documents", () => {
  function scene() {
    const farewells = createFarewells();
    const said: string[] = [];
    const keep = (document: string, now: number): void =>
      farewells.keep({ document, epoch: 1, last: now, say: () => void said.push(document) }, now);
    return { farewells, said, keep };
  }

  it("[CL4] are said again a few at a time, however many there are, and each once", () => {
    const { farewells, said, keep } = scene();
    const documents = Array.from({ length: 25 }, (_, i) => `d${i}`);
    for (const document of documents) keep(document, 0);
    farewells.say(10, 1);
    assert.deepEqual(said, [], "nothing was lost yet");
    farewells.again();
    for (const expected of [10, 20, 25, 25]) {
      farewells.say(10, 1);
      assert.equal(said.length, expected);
    }
    assert.deepEqual(said, documents);
  });

  it("[CL4] are forgotten a while after they were said, and not while they are to be said again", () => {
    const { farewells, said, keep } = scene();
    keep("old", 0);
    keep("new", 10);
    farewells.forget(5);
    farewells.again();
    farewells.forget(100);
    farewells.say(10, 20);
    assert.deepEqual(said, ["new"]);
    farewells.forget(20);
    farewells.again();
    farewells.say(10, 30);
    assert.deepEqual(said, ["new", "new"], "it was said at 20");
  });

  it("[CL4] are taken back by whoever opens the document again", () => {
    const { farewells, said, keep } = scene();
    keep("d", 7);
    farewells.again();
    assert.equal(farewells.take("d")?.last, 7);
    assert.equal(farewells.take("d"), undefined);
    farewells.say(10, 8);
    assert.deepEqual(said, []);
  });

  it("[CL4] are ten thousand at most: the oldest goes", () => {
    const { farewells, said, keep } = scene();
    for (let i = 0; i <= 10_000; i += 1) keep(`d${i}`, i);
    farewells.again();
    farewells.say(20_000, 1);
    assert.equal(said.length, 10_000);
    assert.equal(said[0], "d1");
  });
});
