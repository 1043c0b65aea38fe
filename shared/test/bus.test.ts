import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { busContract, createMemoryHub, seededFates } from "../src/testing.ts";

busContract("memory", async () => {
  const hub = createMemoryHub();
  return {
    subject: { join: async () => hub.join(), cut: (bus) => hub.cut(bus), heal: (bus) => hub.heal(bus) },
    close: async () => undefined,
  };
});

describe("the faults of the memory hub", () => {
  const say = (value: number) => Uint8Array.of(value);

  /** A hub whose clock is turned by hand: everything that is due runs, in order of time. */
  function handTurned() {
    const due: { at: number; run: () => void }[] = [];
    let now = 0;
    const after = (delayMs: number, run: () => void) => void due.push({ at: now + delayMs, run });
    const turn = (untilMs: number) => {
      for (;;) {
        const next = due.toSorted((x, y) => x.at - y.at).find(({ at }) => at <= untilMs);
        if (next === undefined) break;
        due.splice(due.indexOf(next), 1);
        now = next.at;
        next.run();
      }
      now = untilMs;
    };
    return { hub: createMemoryHub({ after }), turn };
  }

  it("drops, doubles and delays deliveries as it is told", () => {
    const { hub, turn } = handTurned();
    const [a, b] = [hub.join(), hub.join()];
    const heard: number[] = [];
    b.subscribe("c", ([value]) => void heard.push(value ?? -1));
    const fates = ["pass", "drop", "twice", { delayMs: 50 }, "pass"] as const;
    const left = [...fates];
    hub.disturb(() => left.shift() ?? "pass");
    fates.forEach((_, value) => a.publish("c", say(value)));
    turn(10);
    assert.deepEqual(heard, [0, 2, 2, 4]);
    turn(50);
    assert.deepEqual(heard, [0, 2, 2, 4, 3], "out of order");
    assert.equal(a.stats().published, 5, "the sender knows nothing of it");
  });

  it("repeats itself with the same seed, and deals out what was asked for", () => {
    const chances = { drop: 0.1, twice: 0.2, late: 0.3, lateMs: 100 };
    const draw = (seed: number) => {
      const fate = seededFates(seed, chances);
      return Array.from({ length: 4000 }, () => fate());
    };
    assert.deepEqual(draw(7), draw(7));
    assert.notDeepEqual(draw(7), draw(8));
    const share = (kind: string) =>
      draw(7).filter((fate) => (typeof fate === "object" ? "late" : fate) === kind).length / 4000;
    for (const [kind, expected] of [
      ["drop", 0.1],
      ["twice", 0.2],
      ["late", 0.3],
      ["pass", 0.4],
    ] as const) {
      assert.ok(Math.abs(share(kind) - expected) < 0.03, `${kind}: ${share(kind)}`);
    }
  });

  it("loses what passes a muted node, whose bus says up and gives no answer until it is healed or cut", async () => {
    const { hub, turn } = handTurned();
    const [a, b] = [hub.join(), hub.join()];
    const heard: number[] = [];
    b.subscribe("c", ([value]) => void heard.push(value ?? -1));
    a.subscribe("c", ([value]) => void heard.push(value ?? -1));
    turn(1);
    hub.mute(b);
    a.publish("c", say(1));
    b.publish("c", say(2));
    let answered: boolean | undefined;
    const { active } = b.subscribe("d", () => undefined);
    void active.then((answer) => (answered = answer));
    turn(2);
    await Promise.resolve();
    assert.deepEqual([heard, b.state, answered], [[], "up", undefined]);
    hub.cut(b);
    assert.equal(await active, false);
    hub.heal(b);
    a.publish("c", say(3));
    turn(3);
    assert.deepEqual(heard, [3]);
  });
});
