import { z } from "zod";
import { ControlEvent } from "./events.ts";

/** What the bus says was announced, kept until the store has said so itself, or has failed to in time. */
export interface Rumours {
  heard(message: Uint8Array): void;
  /** To be called before the store is read; what it returns, when that has succeeded: all heard before is known by then. */
  begin(): () => void;
  stop(): void;
}

export interface RumoursDeps {
  /** What the store did not say in time. */
  readonly act: (event: ControlEvent) => void;
  /** The same, when it is more than can be kept. */
  readonly actOnAll: () => void;
  readonly limits: RumourLimits;
}

export interface RumourLimits {
  /** Longest that what the bus says waits for the store to say it. */
  readonly rumourMs: number;
}

/** In one message, and waiting at a time. */
const EVENTS = 1_000;
/** There is something to read: of an announcement too large for a message. */
const LOOK = new Uint8Array();
const Events = z.array(ControlEvent).max(EVENTS);

export function encodeRumour(events: readonly ControlEvent[]): Uint8Array {
  return events.length > EVENTS ? LOOK : new TextEncoder().encode(JSON.stringify(events));
}

export function createRumours({ act, actOnAll, limits }: RumoursDeps): Rumours {
  const waiting = new Map<NodeJS.Timeout, readonly ControlEvent[]>();
  let events = 0;

  const settle = (timer: NodeJS.Timeout): readonly ControlEvent[] => {
    const known = waiting.get(timer) ?? [];
    clearTimeout(timer);
    waiting.delete(timer);
    events -= known.length;
    return known;
  };
  return {
    heard(message) {
      const told = eventsIn(message);
      if (told.length === 0) return;
      if (events + told.length > EVENTS) {
        for (const timer of waiting.keys()) settle(timer);
        return actOnAll();
      }
      const timer = setTimeout(() => {
        for (const event of settle(timer)) act(event);
      }, limits.rumourMs);
      waiting.set(timer, told);
      events += told.length;
    },
    begin() {
      const before = [...waiting.keys()];
      return () => {
        for (const timer of before) settle(timer);
      };
    },
    stop() {
      for (const timer of waiting.keys()) settle(timer);
    },
  };
}

function eventsIn(message: Uint8Array): readonly ControlEvent[] {
  try {
    return Events.parse(JSON.parse(new TextDecoder().decode(message)));
  } catch {
    // Of another version, or only a hint: the store says what it is.
    return [];
  }
}
