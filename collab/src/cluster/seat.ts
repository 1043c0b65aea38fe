import type { Bus, Subscription } from "@scriptorium/shared";
import { mergeTree } from "../part.ts";
import type { CollabLimits } from "../limits.ts";
import type { RowName, UpdateRow } from "../ports.ts";
import type { PresenceEntry } from "../presence.ts";
import type { Room } from "../room.ts";
import { isWellFormed } from "../well-formed.ts";
import { PeerMarks } from "./peer-marks.ts";
import {
  decodeMessage,
  decodePresence,
  encodeMessage,
  encodePresence,
  presencePieces,
  type ClusterMessage,
} from "./wire.ts";

/** What a document was loaded from. */
export interface Opened {
  /** Names of the parts that its head named. */
  readonly parts: Iterable<string>;
  readonly rows: readonly RowName[];
}

/** Of a document that this node has closed. */
export interface Farewell {
  readonly document: string;
  readonly epoch: number;
  /** The last of this node's rows. */
  readonly last: number;
  say(): void;
}

/** What a seat tells the cluster that it belongs to. */
export interface SeatOwner {
  readonly node: string;
  readonly bus: Bus;
  readonly limits: CollabLimits;
  readonly steady: () => number;
  /** The log has something of this document that is not in memory. */
  wantsReading(seat: Seat): void;
  /** Whether there are other nodes at all. */
  hasPeers(): boolean;
  /** The node is alive. */
  heard(node: string): void;
  /** Another node speaks of a later epoch: the document may have been replaced or removed. */
  suspectsEnd(document: string): void;
  countRefused(): void;
  countReplayed(): void;
}

/**
 * One live document's place among the nodes. Rows are published after they are committed, so whatever another node shows
 * is durable, and whatever is missed is in the log (ADR 0007). A document that no other node has open costs the bus
 * nothing: one that opens it joins, and is answered.
 */
export class Seat {
  readonly room: Room;
  readonly marks = new PeerMarks();
  /** Other nodes that have the document open, as far as they have said so. */
  readonly sharers = new Set<string>();
  /** Parts whose content is in memory. */
  parts: ReadonlySet<string>;
  /** Rows of other nodes, beyond their marks, that were read from the log; see catch-up.ts. */
  read: ReadonlySet<string>;
  /** The bus was silent for a while: what was said meanwhile can only be read. */
  stale = false;
  left = false;
  readonly openedAt: number;
  readonly #owner: SeatOwner;
  readonly #subscriptions: readonly Subscription[];
  /** The last of this node's rows that is committed. */
  #last: number;
  /** Committed since the last digest. */
  #news = false;
  /** Client ids to be told of. */
  readonly #moved = new Set<number>();
  #presenceTimer: NodeJS.Timeout | undefined;
  #replyTimer: NodeJS.Timeout | undefined;
  #repliedAt = Number.NEGATIVE_INFINITY;

  constructor(owner: SeatOwner, room: Room, opened: Opened & { at: number; last: number }) {
    this.#owner = owner;
    this.room = room;
    this.parts = new Set(opened.parts);
    this.read = new Set(opened.rows.map(keyOf));
    this.openedAt = opened.at;
    this.#last = opened.last;
    const { bus } = owner;
    this.#subscriptions = [
      bus.subscribe(updatesOf(this.document), (bytes) => this.#hear(bytes)),
      bus.subscribe(presenceOf(this.document), (bytes) => this.#hearPresence(bytes)),
    ];
    room.presence.onChanged = (clients, gone) => this.#presenceChanged(clients, gone);
    void this.#joinWhenHeard();
  }

  get document(): string {
    return this.room.document.name;
  }

  /** Whether the log must be read before what is in memory can be called complete. */
  get behind(): boolean {
    return this.stale || this.marks.behind;
  }

  /** Says that this node has the document open. Whoever has it too answers with what it has and whom it shows. */
  join(): void {
    if (this.left) return;
    this.#say({ type: "join", ...this.#standing() });
    // Whoever has it was told something already, and may have missed something since.
    if (this.sharers.size > 0) this.#replySoon();
  }

  /** Rows of this node and document, in order, that the store has now. */
  committed(rows: readonly UpdateRow[]): void {
    const [first] = rows;
    const last = rows.at(-1);
    if (first === undefined || last === undefined || first.epoch !== this.room.epoch) return;
    this.#last = last.seq;
    if (this.sharers.size === 0) return;
    this.#news = true;
    // A large one would hold up all others on the way; it is read by those who need it.
    const bytes = rows.reduce((sum, row) => sum + row.update.length, 0);
    if (bytes > this.#owner.limits.fanOutBytes) return this.digest();
    const update = mergeTree(rows.map((row) => row.update));
    this.#say({ type: "rows", ...this.#standing(), first: first.seq, update });
  }

  /** Repeats how far this node is, if it has moved since: what was lost on the way is noticed by it. */
  digest(): void {
    if (!this.#news || this.sharers.size === 0) return;
    this.#news = false;
    this.#say({ type: "digest", ...this.#standing() });
  }

  /** A node is gone, without a word or with one. */
  forget(node: string): void {
    if (!this.sharers.delete(node)) return;
    this.room.presence.forget(node);
  }

  /** What `leave` says, to be said again later. */
  farewell(): Farewell {
    const { bus } = this.#owner;
    const { document } = this;
    const standing = this.#standing();
    const message = encodeMessage({ type: "leave", ...standing });
    return { document, ...standing, say: () => bus.publish(updatesOf(document), message) };
  }

  leave(): void {
    if (this.left) return;
    this.farewell().say();
    this.left = true;
    for (const subscription of this.#subscriptions) subscription.end();
    this.room.presence.onChanged = undefined;
    clearTimeout(this.#presenceTimer);
    clearTimeout(this.#replyTimer);
  }

  async #joinWhenHeard(): Promise<void> {
    const active = await Promise.all(this.#subscriptions.map((subscription) => subscription.active));
    // When the bus is down, the cluster joins with all documents as soon as it is back.
    if (!active.every(Boolean)) this.stale = true;
    else {
      this.join();
      // What was committed between the loading and now, by a node that has left since, is told by nobody.
      if (!this.left && this.#owner.hasPeers()) this.#owner.wantsReading(this);
    }
  }

  #standing(): { node: string; epoch: number; last: number } {
    return { node: this.#owner.node, epoch: this.room.epoch, last: this.#last };
  }

  #say(message: ClusterMessage): void {
    this.#owner.bus.publish(updatesOf(this.document), encodeMessage(message));
  }

  // --- what others say ---

  #hear(bytes: Uint8Array): void {
    const message = decodeMessage(bytes);
    if (message === undefined) return this.#owner.countRefused();
    if (message.node === this.#owner.node || this.left || this.room.ended) return;
    if (message.epoch !== this.room.epoch) {
      if (message.epoch > this.room.epoch) this.#owner.suspectsEnd(this.document);
      return;
    }
    this.#take(message);
    if (this.marks.behind) this.#owner.wantsReading(this);
  }

  #take(message: ClusterMessage): void {
    const { type, node, last } = message;
    if (type === "leave") {
      this.marks.announced(node, last);
      return this.forget(node);
    }
    this.#owner.heard(node);
    const isNew = !this.sharers.has(node);
    this.sharers.add(node);
    // One that is new to us may not know of us either.
    if (isNew || type === "join") this.#replySoon();
    if (type !== "rows") return this.marks.announced(node, last);
    if (!isWellFormed(message.update)) {
      // Whatever it was, the rows that it stands for are in the log.
      this.#owner.countRefused();
      return this.marks.announced(node, last);
    }
    if (this.marks.arrived(node, message.first, last)) this.room.takeFromElsewhere(message.update);
    else this.#owner.countReplayed();
  }

  #hearPresence(bytes: Uint8Array): void {
    const message = decodePresence(bytes);
    if (message === undefined) return this.#owner.countRefused();
    const { node } = message;
    // Of a node that has not joined, or that has left: nobody would tell when its people are gone.
    if (this.left || this.room.ended || !this.sharers.has(node)) return;
    this.room.presence.takeFrom(node, message);
  }

  // --- what we say ---

  /** Many may join at once, or one after the other, as when the bus comes back: they are answered together. */
  #replySoon(): void {
    if (this.#replyTimer !== undefined) return;
    const { limits, steady } = this.#owner;
    const pauseMs = Math.max(limits.replyMs, this.#repliedAt + limits.replyPauseMs - steady());
    this.#replyTimer = setTimeout(() => {
      this.#replyTimer = undefined;
      this.#repliedAt = steady();
      this.#say({ type: "digest", ...this.#standing() });
      this.#sayPresence({ whole: true, clients: undefined });
    }, pauseMs);
  }

  #presenceChanged(clients: readonly number[], gone: boolean): void {
    if (this.sharers.size === 0) return;
    for (const client of clients) this.#moved.add(client);
    if (gone) return this.#flushPresence();
    this.#presenceTimer ??= setTimeout(() => this.#flushPresence(), this.#owner.limits.presenceFanOutMs);
  }

  #flushPresence(): void {
    clearTimeout(this.#presenceTimer);
    this.#presenceTimer = undefined;
    const clients = [...this.#moved];
    this.#moved.clear();
    this.#sayPresence({ whole: false, clients });
  }

  #sayPresence({ whole, clients }: { whole: boolean; clients: readonly number[] | undefined }): void {
    const { presence } = this.room;
    const entries = clients === undefined ? presence.here() : presence.entriesOf(clients);
    if (entries.length === 0 && !whole) return;
    const { node, bus } = this.#owner;
    const say = (some: readonly PresenceEntry[], all: boolean): void =>
      bus.publish(presenceOf(this.document), encodePresence({ node, whole: all, entries: some }));
    const messages = presencePieces(entries);
    // In several messages none names everybody; whom none of them names is taken for gone when nobody renews it.
    if (messages.length < 2) return say(entries, whole);
    for (const some of messages) say(some, false);
  }
}

/** Names a row of a document and epoch that are known. */
export function keyOf({ node, seq }: Pick<RowName, "node" | "seq">): string {
  return `${node}/${seq}`;
}

function updatesOf(document: string): string {
  return `updates:${document}`;
}

function presenceOf(document: string): string {
  return `presence:${document}`;
}
