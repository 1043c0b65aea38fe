import { setTimeout as delay } from "node:timers/promises";
import { Failure, type Streams } from "@scriptorium/shared";
import { CONTROL_STREAM, type Announcement, type ControlEvent, type ControlLog } from "./events.ts";

/** Announcements on their way into the stream. */
export interface Outbox {
  /** Resolves when it is in the stream. What is rejected is kept, for `sendKept`. */
  send(announcement: Announcement): Promise<void>;
  /** Sends what has failed before. Rejects at the first that fails again. */
  sendKept(): Promise<void>;
  readonly kept: number;
}

export interface OutboxDeps {
  readonly streams: Streams;
  /** Boot id of this node. */
  readonly node: string;
  /** A position that is known to be there, or 0. */
  readonly known: () => number;
  readonly onSent: (events: readonly ControlEvent[]) => void;
  readonly log: ControlLog;
  readonly limits: OutboxLimits;
}

export interface OutboxLimits {
  /** Entries that stay in the stream; a node that has missed more looks at everything again. */
  readonly entries: number;
  /** Announcements that have failed and are sent again; beyond, the oldest is given up. */
  readonly unsent: number;
}

/** Lost races in a row before we say "try later"; each means that another node's event was written. */
const ATTEMPTS = 50;
const JITTER_MS = 20;

export function createOutbox({ streams, node, known, onSent, log, limits }: OutboxDeps): Outbox {
  const kept = new Map<string, Announcement>();
  const trimEvery = Math.ceil(limits.entries / 10);
  let tail = 0;

  /** Writes it behind whatever is there. */
  const append = async ({ op, events }: Announcement): Promise<void> => {
    let head = Math.max(tail, known());
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const at = head + 1;
      const outcome = await streams.append(CONTROL_STREAM, { at, entry: { node, events }, op });
      // An earlier try, or whoever made the same change before, has announced it.
      if (outcome === "seen") return;
      if (outcome === "ok") {
        tail = at;
        onSent(events);
        return at % trimEvery === 0 ? trim(at - limits.entries) : undefined;
      }
      await delay(Math.random() * JITTER_MS);
      head = (await streams.head(CONTROL_STREAM))?.at ?? 0;
    }
    throw new Failure("try_later");
  };
  const trim = async (before: number): Promise<void> => {
    try {
      await streams.trim(CONTROL_STREAM, before);
    } catch (error) {
      log.warn({ err: error }, "old control events stay for now");
    }
  };
  const keep = (announcement: Announcement): void => {
    kept.set(announcement.op, announcement);
    const oldest = kept.keys().next();
    if (kept.size <= limits.unsent || oldest.done === true) return;
    kept.delete(oldest.value);
    log.error({ op: oldest.value }, "other nodes were not told of a change; their sockets stay open");
  };

  return {
    async send(announcement) {
      try {
        await append(announcement);
      } catch (error) {
        keep(announcement);
        throw error;
      }
      kept.delete(announcement.op);
    },
    async sendKept() {
      for (const announcement of kept.values()) {
        await append(announcement);
        kept.delete(announcement.op);
      }
    },
    get kept() {
      return kept.size;
    },
  };
}
