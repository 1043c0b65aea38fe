import { assertNever, type BusState } from "@scriptorium/shared";
import { APART, stepHealth, type Health, type HealthEvent, type HealthLimits } from "./health.ts";
import { createLivedTime } from "./lived-time.ts";

/** Keeps sending probes, and says `up` and `down` by what comes back. */
export interface Pulse {
  readonly state: BusState;
  /** Something fell into place: a connection is ready, or every subscription is confirmed. */
  settled(): void;
  /** A connection is lost. */
  broken(): void;
  /** A probe arrived. */
  heard(probe: Uint8Array): void;
  stop(): void;
}

export interface PulseDeps {
  readonly limits: PulseLimits;
  /** Monotonic, in milliseconds. */
  readonly steady: () => number;
  /** Both connections are ready and every subscription is confirmed. */
  readonly isWhole: () => boolean;
  readonly send: (probe: Uint8Array) => void;
  /** Called at every beat, to look after the connections. */
  readonly watch: (at: number) => void;
  /** The connections are open and nothing passes: they are to be made anew. */
  readonly cut: () => void;
  readonly whenChanged: (state: BusState, why: string) => void;
}

export interface PulseLimits extends HealthLimits {
  /** How often a probe is sent; that nothing passes is noticed within this, a quarter of it and lateMs. */
  readonly probeMs: number;
}

const BEATS_PER_PROBE = 4;
const NUMBER_BYTES = 8;

export function createPulse(deps: PulseDeps): Pulse {
  const { limits } = deps;
  const beatMs = limits.probeMs / BEATS_PER_PROBE;
  const clock = createLivedTime({ steady: deps.steady, beatMs });
  const probes = createProbes(limits.silentMs);
  let health: Health = APART;
  let beats = 0;
  let stopped = false;

  const apply = (event: HealthEvent) => {
    const before = health;
    const step = stepHealth(health, event, limits);
    health = step.health;
    if (health.kind === "apart") probes.forget();
    if (step.cut) deps.cut();
    if ((health.kind === "up") !== (before.kind === "up")) deps.whenChanged(stateOf(health), explain(event));
  };
  const beat = () => {
    clock.beat();
    const at = clock.now();
    deps.watch(at);
    apply({ kind: "beat", at, owedMs: probes.oldestMs(at) });
    beats += 1;
    if (health.kind !== "apart" && beats % BEATS_PER_PROBE === 0) deps.send(probes.next(at));
  };
  const heart = setInterval(beat, beatMs).unref();

  return {
    get state() {
      return stateOf(health);
    },
    settled() {
      if (stopped || !deps.isWhole()) return;
      const at = clock.now();
      apply({ kind: "whole", at });
      // Not at the next beat: the bus is up as soon as it can be.
      if (health.kind === "trying" && !probes.underWay) deps.send(probes.next(at));
    },
    broken: () => apply({ kind: "broken" }),
    heard(message) {
      const at = clock.now();
      const tookMs = probes.took(message, at);
      if (tookMs !== undefined) apply({ kind: "echo", at, tookMs, whole: deps.isWhole() });
    },
    stop() {
      stopped = true;
      clearInterval(heart);
      health = APART;
      probes.forget();
    },
  };
}

function stateOf(health: Health): BusState {
  return health.kind === "up" ? "up" : "down";
}

function explain(event: HealthEvent): string {
  switch (event.kind) {
    case "whole":
      return "all is in place";
    case "broken":
      return "a connection was lost";
    case "echo":
      return `a message took ${Math.round(event.tookMs)} ms`;
    case "beat":
      return "no message comes back";
    default:
      return assertNever(event);
  }
}

/** Numbered, so that an echo is not taken for that of another probe. */
function createProbes(silentMs: number) {
  /** When those left that have not come back, by number. */
  const sent = new Map<number, number>();
  let last = 0;
  return {
    get underWay() {
      return sent.size > 0;
    },
    oldestMs(at: number): number {
      const [oldest = at] = sent.values();
      return at - oldest;
    },
    next(at: number): Uint8Array {
      for (const [number, sentAt] of sent) if (at - sentAt > silentMs) sent.delete(number);
      last += 1;
      sent.set(last, at);
      const probe = new Uint8Array(NUMBER_BYTES);
      new DataView(probe.buffer).setFloat64(0, last);
      return probe;
    },
    /** How long the probe was under way; undefined when it is none that is waited for. */
    took({ buffer, byteOffset, byteLength }: Uint8Array, at: number): number | undefined {
      const number = byteLength === NUMBER_BYTES ? new DataView(buffer, byteOffset).getFloat64(0) : 0;
      const sentAt = sent.get(number);
      sent.delete(number);
      return sentAt === undefined ? undefined : at - sentAt;
    },
    forget: () => sent.clear(),
  };
}
