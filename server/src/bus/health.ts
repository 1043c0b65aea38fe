import { assertNever } from "@scriptorium/shared";

/**
 * Whether messages can be relied on to pass, judged by probes alone: messages of this node to itself, by the whole way
 * that messages to other nodes take. An open connection says nothing; a Redis that is stopped keeps its connections.
 */
export type Health =
  /** A connection is missing, or a subscription on it. */
  | { readonly kind: "apart" }
  /** Everything is in place, but no probe has come back in time yet. */
  | { readonly kind: "trying"; readonly heardAt: number }
  | { readonly kind: "up"; readonly heardAt: number };

export type HealthEvent =
  /** Both connections are there and every subscription is confirmed. */
  { readonly kind: "whole"; readonly at: number } | { readonly kind: "broken" } | Echo | Beat;

/** A probe came back; `whole` as above. */
interface Echo {
  readonly kind: "echo";
  readonly at: number;
  readonly tookMs: number;
  readonly whole: boolean;
}

/** Time passes; `owedMs` is the age of the oldest probe that has not come back, 0 when there is none. */
interface Beat {
  readonly kind: "beat";
  readonly at: number;
  readonly owedMs: number;
}

export interface HealthLimits {
  /** A probe that takes longer is down: what is to act within a second must not come this way. */
  readonly lateMs: number;
  /** No echo for this long, and the connections are made anew: they are open, but not for messages. */
  readonly silentMs: number;
}

export interface HealthStep {
  readonly health: Health;
  /** The connections are to be cut: they are open, and nothing passes. */
  readonly cut: boolean;
}

/** A bus that was late comes back only when it is well within the limit, so that it does not change at every probe. */
const RETURN_SHARE = 0.5;

export const APART: Health = { kind: "apart" };

export function stepHealth(health: Health, event: HealthEvent, limits: HealthLimits): HealthStep {
  switch (event.kind) {
    case "whole":
      return stay(health.kind === "apart" ? { kind: "trying", heardAt: event.at } : health);
    case "broken":
      return stay(APART);
    case "echo":
      return stay(afterEcho(health, event, limits.lateMs));
    case "beat":
      return afterBeat(health, event, limits);
    default:
      return assertNever(event);
  }
}

function afterEcho(health: Health, { at, tookMs, whole }: Echo, lateMs: number): Health {
  switch (health.kind) {
    case "apart":
      return health;
    case "trying":
      return { kind: whole && tookMs <= lateMs * RETURN_SHARE ? "up" : "trying", heardAt: at };
    case "up":
      return { kind: tookMs <= lateMs ? "up" : "trying", heardAt: at };
    default:
      return assertNever(health);
  }
}

function afterBeat(health: Health, { at, owedMs }: Beat, limits: HealthLimits): HealthStep {
  if (health.kind === "apart") return stay(health);
  if (at - health.heardAt >= limits.silentMs) return { health: APART, cut: true };
  // Not only when it comes: it may never come.
  return stay(health.kind === "up" && owedMs > limits.lateMs ? { ...health, kind: "trying" } : health);
}

function stay(health: Health): HealthStep {
  return { health, cut: false };
}
