import type { Bus } from "@scriptorium/shared";
import type { CollabLimits } from "../limits.ts";
import { decodeBeat, encodeBeat } from "./wire.ts";

const CHANNEL = "nodes";

export interface LeasesDeps {
  readonly node: string;
  readonly bus: Bus;
  readonly limits: Pick<CollabLimits, "beatMs" | "leaseMs">;
  readonly steady: () => number;
  /** The node has taken its leave, or has not been heard of for `leaseMs`. `heardAt`: when it last was. */
  readonly onGone: (node: string, heardAt: number) => void;
  /** This process was itself stopped for a while: others may have taken it for dead. */
  readonly onSlept: () => void;
  readonly countRefused: () => void;
}

/** Which nodes the bus hears. Judged by this node's own steady clock alone: nobody's wall clock takes part. */
export interface Leases {
  readonly size: number;
  /** A node has said something, whatever it was. */
  heard(node: string): void;
  stop(): void;
}

export function createLeases(deps: LeasesDeps): Leases {
  const { node, bus, limits, steady, onGone, onSlept, countRefused } = deps;
  const heard = new Map<string, number>();

  const gone = (other: string): void => {
    const heardAt = heard.get(other);
    if (heard.delete(other)) onGone(other, heardAt ?? 0);
  };

  const subscription = bus.subscribe(CHANNEL, (bytes) => {
    const beat = decodeBeat(bytes);
    if (beat === undefined) return countRefused();
    if (beat.node === node) return;
    if (beat.leaving) gone(beat.node);
    else heard.set(beat.node, steady());
  });
  let beatAt = steady();
  const timer = setInterval(() => {
    const now = steady();
    // A process that was itself stopped for a while has heard nobody, which says nothing about them.
    const slept = now - beatAt > limits.leaseMs / 2;
    beatAt = now;
    bus.publish(CHANNEL, encodeBeat(node, false));
    if (slept) onSlept();
    for (const [other, at] of heard) {
      if (slept) heard.set(other, now);
      else if (now - at > limits.leaseMs) gone(other);
    }
  }, limits.beatMs);
  bus.publish(CHANNEL, encodeBeat(node, false));

  return {
    get size() {
      return heard.size;
    },
    heard: (other) => void heard.set(other, steady()),
    stop() {
      clearInterval(timer);
      bus.publish(CHANNEL, encodeBeat(node, true));
      subscription.end();
    },
  };
}
