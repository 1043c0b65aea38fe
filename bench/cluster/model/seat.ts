import { PeerMarks } from "@scriptorium/collab/testing";
import type { BusClient, Channel, Listener, Message } from "./bus.ts";
import { Held, Rows } from "./rows.ts";

/** A document, its log, and who has it open. */
export class DocumentModel implements Channel {
  readonly id: number;
  readonly seats: SeatModel[] = [];
  /** By the place of the node that wrote them; none as long as nobody has typed. */
  logs: Map<number, Rows> | undefined;
  /** Rows by document and node that are missing somewhere since the end of a fault; see convergence.ts. */
  lacking = 0;

  constructor(id: number) {
    this.id = id;
  }

  rowsOf(place: number): Rows {
    this.logs ??= new Map();
    const known = this.logs.get(place);
    if (known !== undefined) return known;
    const rows = new Rows();
    this.logs.set(place, rows);
    return rows;
  }
}

/** What a seat needs of its node. */
export interface SeatHost extends BusClient {
  readonly now: number;
  readonly replyMs: number;
  readonly replyPauseMs: number;
  highestSeq: number;
  /** Seats that have committed something since their last digest. */
  readonly news: Set<SeatModel>;
  publish(seat: SeatModel, message: Message): void;
  /** Who is on the document here, to `receivers` nodes; not simulated further. */
  sayPresence(seat: SeatModel): void;
  want(seat: SeatModel): void;
  heard(place: number): void;
  after(ms: number, action: () => void): void;
  /** A seat has more of the log than before. */
  advanced(seat: SeatModel, place: number, held: Held): void;
  violated(what: string): void;
}

/** What a reading of the log finds, as the store has it when it begins. */
export interface Found {
  readonly reading: ReturnType<PeerMarks["beginReading"]> | undefined;
  readonly rows: readonly { readonly place: number; readonly upTo: number; readonly some: number[] }[];
}

/**
 * One live document at one node: collab/src/cluster/seat.ts without content, with the real marks. Numbers of nodes stand
 * for their boot ids.
 */
export class SeatModel implements Listener {
  readonly host: SeatHost;
  readonly document: DocumentModel;
  readonly openedAt: number;
  sharers: Set<number> | undefined;
  people = 0;
  stale = false;
  left = false;
  /** Accepted rows that are not being committed yet, and the last that is. */
  accepted = 0;
  committing: { first: number; last: number } | undefined;
  #seq: number;
  #last = 0;
  #marks: PeerMarks | undefined;
  #held: Map<number, Held> | undefined;
  #replying = false;
  #repliedAt = Number.NEGATIVE_INFINITY;

  /** With all that the store has by now. */
  constructor(host: SeatHost, document: DocumentModel, at: number) {
    this.host = host;
    this.document = document;
    this.openedAt = at;
    this.#seq = host.highestSeq;
    if (document.logs === undefined) return;
    for (const [place, rows] of document.logs) {
      if (place !== host.place && rows.committed > 0) this.heldOf(place).upTo = rows.committed;
    }
  }

  get isShared(): boolean {
    return this.sharers !== undefined && this.sharers.size > 0;
  }

  /** Whether something was announced that is not here. */
  get lacks(): boolean {
    return this.#marks?.behind ?? false;
  }

  heldOf(place: number): Held {
    this.#held ??= new Map();
    const known = this.#held.get(place);
    if (known !== undefined) return known;
    const held = new Held();
    this.#held.set(place, held);
    return held;
  }

  share(place: number): boolean {
    this.sharers ??= new Set();
    if (this.sharers.has(place)) return false;
    this.sharers.add(place);
    return true;
  }

  join(): void {
    if (this.left) return;
    this.#say("join");
    if (this.isShared) this.#replySoon();
  }

  leave(): void {
    this.#say("leave");
    this.left = true;
    this.host.news.delete(this);
  }

  /** The accepted rows are on their way into the store. */
  beginCommit(): void {
    const first = this.#seq + 1;
    this.#seq += this.accepted;
    this.accepted = 0;
    this.committing = { first, last: this.#seq };
    this.host.highestSeq = Math.max(this.host.highestSeq, this.#seq);
    this.document.rowsOf(this.host.place).begin(first, this.#seq);
  }

  endCommit(): void {
    const { committing } = this;
    if (committing === undefined) return;
    this.committing = undefined;
    this.document.rowsOf(this.host.place).committed = committing.last;
    this.#last = committing.last;
    if (!this.isShared || this.left) return;
    this.host.news.add(this);
    this.#say("rows", committing.first);
    this.host.sayPresence(this);
  }

  digest(): void {
    this.host.news.delete(this);
    if (this.isShared) this.#say("digest");
  }

  forget(place: number): boolean {
    return this.sharers?.delete(place) ?? false;
  }

  hear(message: Message): void {
    if (this.left) return;
    const { type, from, first, last } = message;
    const rows = this.document.rowsOf(from);
    this.#marks ??= new PeerMarks();
    if (type !== "leave") {
      this.host.heard(from);
      const isNew = this.share(from);
      if (isNew || type === "join") this.#replySoon();
    }
    if (type === "rows") {
      if (this.#marks.arrived(nameOf(from), first, last)) this.#take(from, rows, { first, last });
    } else this.#marks.announced(nameOf(from), last);
    if (type === "leave") this.forget(from);
    this.#check(from, rows);
    if (this.#marks.behind) this.host.want(this);
  }

  /** What the log has of other nodes now. Of rows that are being inserted some are seen and some are not. */
  beginReading(random: () => number): Found {
    const rows = [];
    for (const [place, log] of this.document.logs ?? []) {
      if (place === this.host.place) continue;
      const some = log.underWay().filter(() => random() < 0.5);
      rows.push({ place, upTo: log.committed, some });
    }
    return { reading: this.#marks?.beginReading(), rows };
  }

  finishReading({ reading, rows }: Found): void {
    for (const { place, upTo, some } of rows) {
      const log = this.document.rowsOf(place);
      const held = this.heldOf(place);
      held.takeUpTo(log, upTo);
      for (const seq of some) held.take(log, seq, seq);
      this.host.advanced(this, place, held);
    }
    if (reading !== undefined) this.#marks?.finishReading(reading, () => true);
    for (const { place } of rows) this.#check(place, this.document.rowsOf(place));
  }

  /** The first row that is in the store and not here. */
  missing(place: number): number {
    const rows = this.document.rowsOf(place);
    const next = rows.next(this.heldOf(place).upTo);
    return next <= rows.committed ? next : Number.POSITIVE_INFINITY;
  }

  #take(place: number, rows: Rows, { first, last }: { first: number; last: number }): void {
    const held = this.heldOf(place);
    held.take(rows, first, last);
    this.host.advanced(this, place, held);
  }

  /** The invariant: no mark passes a row that is not here. */
  #check(place: number, rows: Rows): void {
    const applied = this.#marks?.appliedOf(nameOf(place)) ?? 0;
    const lacked = rows.next(this.heldOf(place).upTo);
    if (lacked <= applied)
      this.host.violated(
        `document ${this.document.id} at node ${this.host.place}: the mark of node ${place} is ${applied}, row ${lacked} is not here`,
      );
  }

  #replySoon(): void {
    if (this.#replying) return;
    this.#replying = true;
    const { replyMs, replyPauseMs, now } = this.host;
    this.host.after(Math.max(replyMs, this.#repliedAt + replyPauseMs - now), () => {
      this.#replying = false;
      if (this.left) return;
      this.#repliedAt = this.host.now;
      this.#say("digest");
      this.host.sayPresence(this);
    });
  }

  #say(type: Message["type"], first = 0): void {
    this.host.publish(this, { type, from: this.host.place, first, last: this.#last });
  }
}

const names: string[] = [];
function nameOf(place: number): string {
  return (names[place] ??= `node${place}`);
}
