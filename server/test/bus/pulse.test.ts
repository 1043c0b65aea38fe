import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { createPulse } from "../../src/bus/pulse.ts";

describe("the pulse of the bus", () => {
  /** Beats so seldom that none comes: what happens here is what the test does. */
  function create(t: TestContext) {
    const world = { now: 0, whole: true, sent: [] as Uint8Array[], said: [] as string[] };
    const pulse = createPulse({
      limits: { probeMs: 1_000_000, silentMs: 3_000_000, lateMs: 1000 },
      steady: () => world.now,
      isWhole: () => world.whole,
      send: (probe) => void world.sent.push(probe),
      watch: () => undefined,
      cut: () => undefined,
      whenChanged: (state, why) => void world.said.push(`${state}: ${why}`),
    });
    t.after(() => pulse.stop());
    return { world, pulse, echo: (number: number) => pulse.heard(world.sent[number] ?? new Uint8Array()) };
  }

  it("is not up while a subscription that came meanwhile is not confirmed, and is as soon as it is", (t) => {
    const { world, pulse, echo } = create(t);
    pulse.settled();
    world.whole = false;
    echo(0);
    assert.equal(pulse.state, "down");
    pulse.settled();
    assert.equal(world.sent.length, 1, "nothing to be proved yet");
    world.whole = true;
    pulse.settled();
    pulse.settled();
    assert.equal(world.sent.length, 2, "one probe at once, and no more while it is under way");
    echo(1);
    assert.equal(pulse.state, "up");
    assert.deepEqual(world.said, ["up: a message took 0 ms"]);
  });

  it("takes no probe of the connection before, none twice and none that it has not sent", (t) => {
    const { world, pulse, echo } = create(t);
    pulse.settled();
    pulse.broken();
    echo(0);
    assert.equal(pulse.state, "down");
    pulse.settled();
    echo(0);
    for (const bytes of [0, 1, 7, 8, 9]) pulse.heard(new Uint8Array(bytes));
    assert.equal(pulse.state, "down");
    echo(1);
    assert.equal(pulse.state, "up");
    pulse.broken();
    echo(1);
    assert.deepEqual(world.said, ["up: a message took 0 ms", "down: a connection was lost"]);
  });

  it("does nothing any more once it is stopped", (t) => {
    const { world, pulse, echo } = create(t);
    pulse.settled();
    echo(0);
    pulse.stop();
    assert.equal(pulse.state, "down");
    pulse.settled();
    pulse.broken();
    echo(0);
    assert.deepEqual([world.sent.length, world.said.length], [1, 1]);
  });
});
