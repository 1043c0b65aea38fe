import type { Bus, Streams } from "@scriptorium/shared";
import { z } from "zod";
import { CONTROL_STREAM, ControlEvent, type Control, type ControlLog } from "./events.ts";
import { createOutbox, type OutboxLimits } from "./outbox.ts";
import { createReactions, type Reactions } from "./reactions.ts";
import { createRounds } from "./rounds.ts";
import { createRumours, type RumourLimits } from "./rumours.ts";
import { within } from "./within.ts";

/** Counts since the start. */
export interface ControlStats {
  readonly announced: number;
  /** Events of other nodes that were begun here. */
  readonly received: number;
  readonly polls: number;
  readonly failedPolls: number;
  /** Times that events may have passed unseen, so that everything was looked at again. */
  readonly missed: number;
  /** Announcements that the store has not taken yet. */
  readonly unsent: number;
}

export interface ControlLimits extends OutboxLimits, RumourLimits {
  /** Without a hint on the bus events are found this late. */
  readonly pollMs: number;
  /** The longest pause between two tries while the store cannot be read. */
  readonly slowestMs: number;
  /** What the stop may take, when the store has to be told what it did not take before. */
  readonly leaveMs: number;
}

const LIMITS: ControlLimits = {
  pollMs: 500,
  slowestMs: 2_000,
  leaveMs: 1_000,
  rumourMs: 300,
  entries: 10_000,
  unsent: 1_000,
};
const BATCH = 500;

const Entry = z.object({ node: z.string(), events: z.array(ControlEvent) });

export interface ControlDeps {
  readonly streams: Streams;
  /** Boot id of this node. */
  readonly node: string;
  readonly bus: Bus | undefined;
  readonly log: ControlLog;
  readonly limits?: Partial<ControlLimits>;
}

export interface SharedControl extends Control {
  /** Whether the store could not be read or written when that was last tried. */
  readonly failing: boolean;
  /** Reads what there is to read, and sends what has failed. Rejects when the store cannot be asked. */
  look(): Promise<void>;
  stats(): ControlStats;
}

/**
 * Events between nodes: a stream that every node reads by position. It is the truth about what was announced; the bus
 * only makes it faster. A node acts on its own events before they are in the stream, and on all others in its order. One
 * that hears the bus and cannot read the store acts on what the bus says, and once more when it can.
 */
export function createSharedControl(deps: ControlDeps): SharedControl {
  const { streams, node, bus, log } = deps;
  const limits = { ...LIMITS, ...deps.limits };
  const counts = { announced: 0, polls: 0, failedPolls: 0 };
  const feed = createFeed({ streams, node, log });
  const rumours = createRumours({ bus, whenHeard: () => rounds.soon(), limits });
  const known = () => feed.position;
  const onSent = (events: readonly ControlEvent[]) => rumours.spread(events);
  const outbox = createOutbox({ streams, node, known, onSent, log, limits });
  let reactions: Reactions | undefined;
  let failing = false;
  const rounds = createRounds({
    work: async () => {
      const confirmed = rumours.begin();
      await feed.read(reactions);
      confirmed();
      failing = false;
      counts.polls += 1;
      reactions?.retry();
      await outbox.sendKept();
    },
    everyMs: limits.pollMs,
    slowestMs: limits.slowestMs,
    onFailure: (error) => {
      failing = true;
      counts.failedPolls += 1;
      log.warn({ err: error }, "control events cannot be read or written; it is tried again");
    },
  });

  return {
    async announce(announcement) {
      const { events } = announcement;
      counts.announced += events.length;
      const here = events.map(async (event) => reactions?.act(event));
      await outbox.send(announcement);
      await Promise.all(here);
    },
    async start(effects) {
      await feed.begin();
      reactions = createReactions(effects, log);
      rumours.listen(reactions);
      rounds.start();
    },
    look: () => rounds.run(),
    get failing() {
      return failing;
    },
    async stop() {
      rumours.stop();
      const last = rounds.stop().then(() => outbox.sendKept());
      await within(
        last.catch((error: unknown) => log.error({ err: error }, "other nodes were not told of a change")),
        limits.leaveMs,
      );
    },
    stats: () => ({ ...counts, ...feed.counts, unsent: outbox.kept }),
  };
}

/** The place of this node in the stream. */
function createFeed({ streams, node, log }: Pick<ControlDeps, "streams" | "node" | "log">) {
  const counts = { received: 0, missed: 0 };
  /** Of the last entry read. All before it was acted on, or was there before this node knew or served anything. */
  let position = 0;

  const miss = (why: string, reactions: Reactions | undefined): void => {
    counts.missed += 1;
    log.warn({ position, why }, "control events may have been missed; everything is looked at again");
    void reactions?.actOnAll();
  };
  const take = (at: number, found: unknown, reactions: Reactions | undefined): void => {
    // Positions have no gaps, so what lies between was trimmed before we came to it.
    if (at > position + 1) miss("trimmed", reactions);
    position = at;
    const entry = Entry.safeParse(found);
    // Of a newer version, perhaps, in the middle of an upgrade.
    if (!entry.success) return miss("unknown", reactions);
    if (entry.data.node === node) return;
    counts.received += entry.data.events.length;
    for (const event of entry.data.events) void reactions?.act(event);
  };

  return {
    counts,
    get position() {
      return position;
    },
    async begin() {
      position = (await streams.head(CONTROL_STREAM))?.at ?? 0;
    },
    async read(reactions: Reactions | undefined) {
      for (let more = true; more;) {
        const entries = await streams.read(CONTROL_STREAM, position + 1, BATCH);
        for (const { at, entry } of entries) take(at, entry, reactions);
        more = entries.length === BATCH;
      }
    },
  };
}
