import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { APART, stepHealth, type Health, type HealthEvent } from "../../src/bus/health.ts";
import { createLivedTime } from "../../src/bus/lived-time.ts";

const LIMITS = { silentMs: 3000, lateMs: 1000 };

describe("the health of the bus", () => {
  /** The state after all events, and whether the last one cut the connections. */
  const after = (...events: readonly HealthEvent[]) => {
    let health: Health = APART;
    let cut = false;
    for (const event of events) ({ health, cut } = stepHealth(health, event, LIMITS));
    return { health, cut };
  };
  const whole = (at: number): HealthEvent => ({ kind: "whole", at });
  const beat = (at: number, owedMs = 0): HealthEvent => ({ kind: "beat", at, owedMs });
  const echo = (at: number, tookMs = 5, complete = true): HealthEvent => ({
    kind: "echo",
    at,
    tookMs,
    whole: complete,
  });
  const broken: HealthEvent = { kind: "broken" };

  it("is not up by connections alone: a probe has to come back", () => {
    assert.equal(after(whole(0)).health.kind, "trying");
    assert.equal(after(whole(0), beat(2999)).health.kind, "trying");
    assert.equal(after(whole(0), echo(1)).health.kind, "up");
    assert.equal(after(echo(1)).health.kind, "apart", "a probe of the connection before");
  });

  it("is not up while a subscription is missing", () => {
    assert.equal(after(whole(0), echo(1, 5, false)).health.kind, "trying");
    assert.equal(after(whole(0), echo(1), echo(2, 5, false)).health.kind, "up", "later ones do not matter");
  });

  it("goes down and cuts when nothing was heard for long", () => {
    assert.deepEqual(after(whole(0), echo(1), beat(3000)), {
      health: { kind: "up", heardAt: 1 },
      cut: false,
    });
    assert.deepEqual(after(whole(0), echo(1), beat(3001)), { health: APART, cut: true });
    assert.deepEqual(after(whole(0), beat(3000)), { health: APART, cut: true });
    assert.deepEqual(after(whole(0), echo(1), echo(2900), beat(5000)).health.kind, "up");
    assert.deepEqual(after(beat(9000)), { health: APART, cut: false });
  });

  it("goes down at once when a connection is lost", () => {
    assert.deepEqual(after(whole(0), echo(1), broken).health, APART);
  });

  it("goes down when a probe is late, without a cut, and returns when they are well in time", () => {
    assert.deepEqual(after(whole(0), echo(1), echo(2000, 1000)).health.kind, "up");
    const late = [whole(0), echo(1), echo(2000, 1001)] as const;
    assert.deepEqual(after(...late), { health: { kind: "trying", heardAt: 2000 }, cut: false });
    assert.equal(after(...late, echo(3000, 501)).health.kind, "trying");
    assert.equal(after(...late, echo(3000, 500)).health.kind, "up");
    assert.equal(after(...late, beat(4999)).cut, false, "late is not silent");
  });

  it("goes down as soon as a probe is late, also before it comes", () => {
    assert.equal(after(whole(0), echo(1), beat(2000, 1000)).health.kind, "up");
    assert.deepEqual(after(whole(0), echo(1), beat(2000, 1001)), {
      health: { kind: "trying", heardAt: 1 },
      cut: false,
    });
    assert.deepEqual(after(whole(0), echo(1), beat(2000, 1001), beat(3001, 2002)), {
      health: APART,
      cut: true,
    });
  });

  it("is up only after an echo in time, later than whatever broke it, under any sequence of events", () => {
    const event: fc.Arbitrary<HealthEvent> = fc.oneof(
      fc.record({ kind: fc.constant("whole" as const), at: fc.nat(10_000) }),
      fc.constant(broken),
      fc.record({
        kind: fc.constant("echo" as const),
        at: fc.nat(10_000),
        tookMs: fc.nat(2000),
        whole: fc.boolean(),
      }),
      fc.record({ kind: fc.constant("beat" as const), at: fc.nat(10_000), owedMs: fc.nat(2000) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), (events) => {
        let clock = 0;
        const ordered = events.map((one) => ("at" in one ? { ...one, at: (clock += one.at % 1500) } : one));
        const { health } = after(...ordered);
        if (health.kind !== "up") return;
        const last = ordered.findLast(({ kind }) => kind === "echo" || kind === "broken");
        assert.ok(last?.kind === "echo" && last.tookMs <= LIMITS.lateMs);
        const end = ordered.at(-1);
        assert.ok(
          end?.kind !== "beat" || (clock - health.heardAt < LIMITS.silentMs && end.owedMs <= LIMITS.lateMs),
        );
      }),
    );
  });
});

describe("lived time", () => {
  it("runs with the clock while it beats, and leaves out what the process did not live", () => {
    let steady = 1000;
    const time = createLivedTime({ steady: () => steady, beatMs: 250 });
    const start = time.now();
    const lived = () => time.now() - start;
    const pass = (ms: number) => {
      steady += ms;
      time.beat();
    };
    steady += 100;
    assert.equal(lived(), 100);
    for (let i = 0; i < 4; i += 1) pass(i === 0 ? 150 : 250);
    assert.equal(lived(), 1000);
    steady += 60_000;
    assert.equal(lived(), 1250, "held up: no further than to the beat that is due");
    time.beat();
    assert.equal(lived(), 1250);
    steady += 200;
    assert.equal(lived(), 1450);
    time.beat();
    assert.equal(lived(), 1450, "an early beat loses nothing");
  });
});
