import type { Bus, Subscription } from "@scriptorium/shared";
import { z } from "zod";
import { ControlEvent } from "./events.ts";
import type { Reactions } from "./reactions.ts";

/** What the bus says was announced, kept until the store has said so itself, or has failed to in time. */
export interface Rumours {
  /** Tells the other nodes of what is in the store. */
  spread(events: readonly ControlEvent[]): void;
  /** From now on `whenHeard` is called, and what the store did not say in time is acted on. */
  listen(reactions: Reactions): void;
  /** To be called before the store is read; what it returns, when that has succeeded: all heard before is known by then. */
  begin(): () => void;
  stop(): void;
}

export interface RumoursDeps {
  readonly bus: Bus | undefined;
  /** There is something to read in the store. */
  readonly whenHeard: () => void;
  readonly limits: RumourLimits;
}

export interface RumourLimits {
  /** Longest that what the bus says waits for the store to say it. */
  readonly rumourMs: number;
}

const CHANNEL = "control";
/** In one message, and waiting at a time. */
const EVENTS = 1_000;
/** There is something to read: of an announcement too large for a message. */
const LOOK = new Uint8Array();
const Events = z.array(ControlEvent).max(EVENTS);

export function createRumours({ bus, whenHeard, limits }: RumoursDeps): Rumours {
  const waiting = new Map<NodeJS.Timeout, readonly ControlEvent[]>();
  let events = 0;
  let hearing: Subscription | undefined;

  const settle = (timer: NodeJS.Timeout): readonly ControlEvent[] => {
    const known = waiting.get(timer) ?? [];
    clearTimeout(timer);
    waiting.delete(timer);
    events -= known.length;
    return known;
  };
  const settleAll = (): void => {
    for (const timer of waiting.keys()) settle(timer);
  };
  const wait = (told: readonly ControlEvent[], reactions: Reactions): void => {
    if (events + told.length > EVENTS) {
      settleAll();
      void reactions.actOnAll();
      return;
    }
    const timer = setTimeout(() => {
      for (const event of settle(timer)) void reactions.act(event);
    }, limits.rumourMs);
    waiting.set(timer, told);
    events += told.length;
  };

  return {
    spread: (told) => bus?.publish(CHANNEL, told.length > EVENTS ? LOOK : encode(told)),
    listen(reactions) {
      hearing = bus?.subscribe(CHANNEL, (message) => {
        const told = eventsIn(message);
        if (told.length > 0) wait(told, reactions);
        whenHeard();
      });
    },
    begin() {
      const before = [...waiting.keys()];
      return () => {
        for (const timer of before) settle(timer);
      };
    },
    stop() {
      hearing?.end();
      settleAll();
    },
  };
}

function encode(events: readonly ControlEvent[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(events));
}

function eventsIn(message: Uint8Array): readonly ControlEvent[] {
  try {
    return Events.parse(JSON.parse(new TextDecoder().decode(message)));
  } catch {
    // Of another version, or only a hint: the store says what it is.
    return [];
  }
}
