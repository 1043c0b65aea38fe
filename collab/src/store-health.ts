import { assertNever } from "@scriptorium/shared";

/** What the store is to the documents. Only `step` changes it. Rules SH1-SH4 in SPEC.md. */
export type StoreHealth =
  | { readonly state: "healthy" }
  /** Acks are held, edits still accepted. */
  | { readonly state: "failing"; readonly since: number }
  /** Edits are no longer accepted; what was accepted is kept and retried. */
  | { readonly state: "read-only"; readonly since: number };

export type StoreHealthEvent =
  | { readonly type: "failed"; readonly now: number }
  | { readonly type: "committed"; readonly backlogBytes: number }
  /** Looks at the oldest update that is not committed, whether a commit failed or merely never came back. */
  | {
      readonly type: "tick";
      readonly now: number;
      readonly oldest: number | undefined;
      readonly backlogBytes: number;
    };

export type StoreHealthEffect = "close-writes" | "open-writes";

export interface StoreHealthBounds {
  readonly storeGraceMs: number;
  readonly uncommittedBytes: number;
}

interface Step {
  readonly health: StoreHealth;
  readonly effect?: StoreHealthEffect;
}

export const HEALTHY: StoreHealth = { state: "healthy" };

export function stepStoreHealth(
  health: StoreHealth,
  event: StoreHealthEvent,
  bounds: StoreHealthBounds,
): Step {
  switch (event.type) {
    case "failed":
      return health.state === "healthy" ? { health: { state: "failing", since: event.now } } : { health };
    case "committed":
      // Half the bound: otherwise a store that is merely slow would flip the editors with every commit.
      if (event.backlogBytes > bounds.uncommittedBytes / 2) return { health };
      return health.state === "read-only" ? { health: HEALTHY, effect: "open-writes" } : { health: HEALTHY };
    case "tick":
      return tick(health, event, bounds);
    default:
      return assertNever(event);
  }
}

function tick(
  health: StoreHealth,
  event: Extract<StoreHealthEvent, { type: "tick" }>,
  bounds: StoreHealthBounds,
): Step {
  if (health.state === "read-only") return { health };
  const late = event.oldest !== undefined && event.now - event.oldest >= bounds.storeGraceMs;
  if (!late && event.backlogBytes <= bounds.uncommittedBytes) return { health };
  return { health: { state: "read-only", since: event.now }, effect: "close-writes" };
}
