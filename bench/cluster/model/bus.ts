import { encodeBeat, encodeMessage, encodePresence } from "@scriptorium/collab/testing";
import type { ClusterMessage } from "@scriptorium/collab/testing";
import { newId } from "@scriptorium/shared";
import type { Calendar } from "./calendar.ts";

/** What a node says of a document, without the content. `first` counts only with rows. */
export interface Message {
  readonly type: ClusterMessage["type"];
  /** The sender, by its place. */
  readonly from: number;
  readonly first: number;
  readonly last: number;
}

/** A node's connection to Redis. */
export interface BusClient {
  readonly place: number;
  up: boolean;
  /** Messages to Redis without an answer. */
  unanswered: number;
  /** Messages that were not taken. */
  dropped: number;
}

export interface Listener {
  readonly host: BusClient;
  hear(message: Message): void;
}

/** A document's channel, as Redis sees it: whoever has it open listens. */
export interface Channel {
  readonly seats: readonly Listener[];
}

export interface BusPlan {
  /** Of Redis' time, for a PUBLISH and for each receiver of it; see docs/scaling.md. */
  readonly publishMs: number;
  readonly deliveryMs: number;
  /** From the sender to the receivers, when nothing is queued. */
  readonly latencyMs: number;
  /** Messages that come to nobody, or to one fewer; and messages that are overtaken. */
  readonly lostShare: number;
  readonly lateShare: number;
  /** Beyond, a node drops what it has to say: REDIS_BUS_LIMITS.queuedBytes by what a small message costs. */
  readonly mostUnanswered: number;
}

export type Kind = Message["type"] | "presence" | "beat" | "probe";

export interface BusCounts {
  published: number;
  delivered: number;
  bytesIn: number;
  bytesOut: number;
  lost: number;
  dropped: number;
  readonly byKind: Record<Kind, number>;
}

const LATE_MS = 25;
/** Around a message and its channel, in RESP2: `*3 $7 PUBLISH $n … $n …`, and `message` on the way out. */
const RESP_BYTES = 34;
/** What the bus adds to each message (server/src/bus/seal.ts), and its prefix and the kind to each channel's name. */
const SEAL_BYTES = 30;
const CHANNEL_BYTES = 36 + "updates:notes:".length + 26;

/** Sizes by the real encoding; an update of one letter, a presence entry with name, colours and caret. */
function messageBytes(): Record<Kind, number> {
  const standing = { node: newId(), epoch: 1, last: 10_000 };
  const of = (type: "join" | "leave" | "digest"): number => encodeMessage({ type, ...standing }).length;
  const entry = { client: 2 ** 31, clock: 1000, state: JSON.stringify({ user: "x".repeat(250) }) };
  const update = new Uint8Array(25);
  return {
    join: of("join"),
    leave: of("leave"),
    digest: of("digest"),
    rows: encodeMessage({ type: "rows", ...standing, first: 9_999, update }).length,
    presence: encodePresence({ node: standing.node, whole: false, entries: [entry] }).length,
    beat: encodeBeat(standing.node, false).length,
    probe: 8,
  };
}

const noCounts = (): BusCounts => ({
  published: 0,
  delivered: 0,
  bytesIn: 0,
  bytesOut: 0,
  lost: 0,
  dropped: 0,
  byKind: { join: 0, leave: 0, digest: 0, rows: 0, presence: 0, beat: 0, probe: 0 },
});

/** One Redis: a queue that is worked off at a rate. What is on its way when it goes down is lost. */
export class BusModel {
  counts = noCounts();
  readonly #calendar: Calendar;
  readonly #random: () => number;
  readonly #plan: BusPlan;
  readonly #bytes = messageBytes();
  /** When everything that has come by now is passed on. */
  #freeAt = 0;
  #life = 0;

  constructor(deps: { calendar: Calendar; random: () => number; plan: BusPlan }) {
    this.#calendar = deps.calendar;
    this.#random = deps.random;
    this.#plan = deps.plan;
  }

  /** Redis ends, with all that is on its way. */
  end(): void {
    this.#life += 1;
    this.#freeAt = 0;
  }

  startCounting(): void {
    this.counts = noCounts();
  }

  publish(client: BusClient, channel: Channel, message: Message): void {
    if (!client.up || client.unanswered >= this.#plan.mostUnanswered) {
      client.dropped += 1;
      this.counts.dropped += 1;
      return;
    }
    client.unanswered += 1;
    const waitMs = this.#pass(message.type, channel.seats.length);
    const late = this.#random() < this.#plan.lateShare ? LATE_MS : 0;
    const life = this.#life;
    // Nobody else listens now. One that subscribes meanwhile has read the log after that.
    const alone = channel.seats.length < 2;
    this.#calendar.after(waitMs + late, () => {
      client.unanswered -= 1;
      if (!alone && life === this.#life) this.#deliver(client, channel, message);
    });
  }

  /** To `receivers` nodes; without anybody who hears it here. */
  publishSilently(client: BusClient, kind: "presence" | "beat", receivers: number): void {
    if (client.up) this.#pass(kind, receivers);
  }

  /** Redis is busy with something else for this long. */
  occupy(ms: number): void {
    this.#freeAt = Math.max(this.#calendar.now, this.#freeAt) + ms;
  }

  /** How long a message of a node to itself takes now. */
  probe(): number {
    return this.#pass("probe", 1);
  }

  #pass(kind: Kind, receivers: number): number {
    const { counts } = this;
    const bytes = this.#bytes[kind] + SEAL_BYTES + CHANNEL_BYTES + RESP_BYTES;
    counts.published += 1;
    counts.byKind[kind] += 1;
    counts.delivered += receivers;
    counts.bytesIn += bytes;
    counts.bytesOut += bytes * receivers;
    const { now } = this.#calendar;
    const { publishMs, deliveryMs } = this.#plan;
    this.#freeAt = Math.max(now, this.#freeAt) + publishMs + receivers * deliveryMs;
    return this.#freeAt - now + this.#plan.latencyMs;
  }

  #deliver(sender: BusClient, { seats }: Channel, message: Message): void {
    for (const seat of seats) {
      if (seat.host === sender || !seat.host.up) continue;
      if (this.#random() < this.#plan.lostShare) this.counts.lost += 1;
      else seat.hear(message);
    }
  }
}
