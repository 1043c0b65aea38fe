import type { CollabLimits } from "@scriptorium/collab";
import type { BusModel, Message } from "./bus.ts";
import { TICK_MS as STEP_MS } from "./calendar.ts";
import type { Calendar } from "./calendar.ts";
import type { Held } from "./rows.ts";
import { SeatModel } from "./seat.ts";
import type { DocumentModel, Found, SeatHost } from "./seat.ts";
import type { StoreModel } from "./store.ts";

export type NodeLimits = Pick<
  CollabLimits,
  | "beatMs"
  | "leaseMs"
  | "digestMs"
  | "replyMs"
  | "replyPauseMs"
  | "pollMs"
  | "pollsPerSecond"
  | "readsAtOnce"
  | "sharedCommitPaceMs"
> & {
  /** Documents that a node joins a second when the bus is back; Infinity joins with all at once. */
  readonly joinsPerSecond: number;
};

export interface NodeDeps {
  readonly place: number;
  readonly limits: NodeLimits;
  readonly calendar: Calendar;
  readonly random: () => number;
  readonly bus: BusModel;
  readonly store: StoreModel;
  /** Whether another node says in the store that it cannot use the bus; and whether there are others. */
  readonly othersCutOff: (place: number) => boolean;
  /** Tells the others that this node lives, if they can hear it. */
  readonly beat: (place: number) => void;
  readonly watch: Pick<SeatHost, "advanced" | "violated"> & { closed(seat: SeatModel): void };
}

const TICK_MS = 100;
/** Until the store has committed: as measured with an idle store, 2 to 10 ms. */
const COMMIT_MS = 10;
const MOST_FAREWELLS = 10_000;
const MAKE_UP_MS = 60_000;

/** One node: collab/src/cluster/cluster.ts, reader.ts and leases.ts, and the pace of the log, without content. */
export class NodeModel implements SeatHost {
  readonly place: number;
  up = true;
  alive = true;
  unanswered = 0;
  dropped = 0;
  highestSeq = 0;
  readings = 0;
  readonly replyMs: number;
  readonly replyPauseMs: number;
  readonly seats = new Set<SeatModel>();
  readonly news = new Set<SeatModel>();
  readonly #deps: NodeDeps;
  #dirty: SeatModel[] = [];
  /** When other nodes were last heard, by place. */
  readonly #heardAt = new Map<number, number>();
  #farewells = new Map<DocumentModel, Message>();
  #droppedBefore = 0;
  #digestAt: number;
  #beatAt: number;
  #commitAt: number;
  #tickAt: number;
  #cutOff = false;
  #committing = false;
  #makeUp = { at: Number.NEGATIVE_INFINITY, pauseMs: 0 };
  #joining: Iterator<SeatModel> | undefined;
  #joinsDue = 0;
  // --- reader ---
  readonly #queue = new Set<SeatModel>();
  readonly #urgent = new Set<SeatModel>();
  readonly #reading = new Set<SeatModel>();
  readonly #again = new Set<SeatModel>();
  // --- poller ---
  #round: Iterator<SeatModel> | undefined;
  #roundAt = Number.NEGATIVE_INFINITY;
  #pollsDue = 0;
  #wasPolling = false;

  constructor(deps: NodeDeps) {
    this.#deps = deps;
    this.place = deps.place;
    const { limits, random } = deps;
    this.replyMs = limits.replyMs;
    this.replyPauseMs = limits.replyPauseMs;
    this.#digestAt = random() * limits.digestMs;
    this.#beatAt = random() * limits.beatMs;
    this.#commitAt = random() * limits.sharedCommitPaceMs;
    this.#tickAt = random() * TICK_MS;
  }

  // --- documents ---

  open(document: DocumentModel): SeatModel {
    const seat = new SeatModel(this, document, this.#deps.calendar.now);
    document.seats.push(seat);
    this.seats.add(seat);
    return seat;
  }

  /** Subscribed, or not: then the bus is down, and all join when it is back. */
  joinOrWait(seat: SeatModel): void {
    if (!this.up) {
      seat.stale = true;
      return;
    }
    seat.join();
    this.want(seat);
  }

  close(seat: SeatModel): void {
    if (seat.accepted > 0 || seat.committing !== undefined) {
      // Unloaded once all of it is committed.
      this.after(COMMIT_MS, () => seat.people === 0 && !seat.left && this.alive && this.close(seat));
      return;
    }
    if (!this.up) this.#keepFarewell(seat);
    seat.leave();
    this.#remove(seat);
  }

  typed(seat: SeatModel): void {
    if (seat.accepted === 0) this.#dirty.push(seat);
    seat.accepted += 1;
  }

  /** kill -9: half of what is being committed is in the store, and nobody is told. */
  die(): void {
    this.alive = false;
    this.up = false;
    for (const seat of this.seats) {
      const rows = seat.committing === undefined ? undefined : seat.document.rowsOf(this.place);
      if (rows !== undefined && seat.committing !== undefined) {
        if (this.#deps.random() < 0.5) rows.committed = seat.committing.last;
        else rows.rollBack();
      }
      seat.left = true;
      this.#remove(seat);
    }
  }

  #remove(seat: SeatModel): void {
    this.seats.delete(seat);
    this.#queue.delete(seat);
    this.#urgent.delete(seat);
    const { seats } = seat.document;
    seats.splice(seats.indexOf(seat), 1);
    this.#deps.watch.closed(seat);
  }

  #keepFarewell(seat: SeatModel): void {
    const { document } = seat;
    const last = document.logs?.get(this.place)?.committed ?? 0;
    this.#farewells.set(document, { type: "leave", from: this.place, first: 0, last });
    const [oldest] = this.#farewells.keys();
    if (this.#farewells.size > MOST_FAREWELLS && oldest !== undefined) this.#farewells.delete(oldest);
  }

  // --- what a seat asks for ---

  get now(): number {
    return this.#deps.calendar.now;
  }

  publish({ document }: SeatModel, message: Message): void {
    this.#deps.bus.publish(this, document, message);
  }

  sayPresence({ document }: SeatModel): void {
    this.#deps.bus.publishSilently(this, "presence", document.seats.length);
  }

  after(ms: number, action: () => void): void {
    this.#deps.calendar.after(ms, () => {
      if (this.alive) action();
    });
  }

  heard(place: number): void {
    this.#heardAt.set(place, this.#deps.calendar.now);
  }

  advanced(seat: SeatModel, place: number, held: Held): void {
    this.#deps.watch.advanced(seat, place, held);
  }

  violated(what: string): void {
    this.#deps.watch.violated(what);
  }

  // --- time ---

  pass(): void {
    const { limits, calendar } = this.#deps;
    const { now } = calendar;
    if (now >= this.#commitAt) {
      this.#commitAt += limits.sharedCommitPaceMs;
      this.#commit();
    }
    if (now >= this.#tickAt) {
      this.#tickAt += TICK_MS;
      this.#tick(now);
    }
    if (now >= this.#beatAt) {
      this.#beatAt += limits.beatMs;
      this.#beat(now);
    }
    this.#joinSome();
    this.#readSome();
  }

  #commit(): void {
    const seats = this.#dirty;
    if (seats.length === 0) return;
    this.#dirty = [];
    this.#committing = true;
    for (const seat of seats) seat.beginCommit();
    this.after(COMMIT_MS, () => {
      this.#committing = false;
      for (const seat of seats) seat.endCommit();
    });
  }

  #tick(now: number): void {
    this.#poll(now);
    if (now < this.#digestAt) return;
    this.#digestAt += this.#deps.limits.digestMs;
    for (const seat of Array.from(this.news)) seat.digest();
    this.#makeUpForDropped(now);
  }

  #makeUpForDropped(now: number): void {
    if (this.dropped === this.#droppedBefore) {
      if (now >= this.#makeUp.at + this.#makeUp.pauseMs) this.#makeUp.pauseMs = 0;
      return;
    }
    if (!this.up || now < this.#makeUp.at) return;
    const pauseMs = Math.min(MAKE_UP_MS, Math.max(this.#deps.limits.digestMs, this.#makeUp.pauseMs * 2));
    this.#makeUp = { at: now + pauseMs, pauseMs };
    this.#droppedBefore = this.dropped;
    this.busChanged(true);
  }

  /** Also says whether this node can use the bus, in the store, and looks whether the others can. */
  #beat(now: number): void {
    const { limits, othersCutOff, beat } = this.#deps;
    this.#cutOff = othersCutOff(this.place);
    beat(this.place);
    for (const [other, at] of this.#heardAt) {
      if (now - at <= limits.leaseMs) continue;
      this.#heardAt.delete(other);
      this.#gone(other, at);
    }
  }

  #gone(other: number, heardAt: number): void {
    for (const seat of this.seats) {
      if (seat.forget(other) || seat.openedAt >= heardAt) this.want(seat);
    }
  }

  // --- the bus ---

  busChanged(up: boolean): void {
    this.up = up;
    for (const seat of this.seats) seat.stale = true;
    if (!up) {
      this.#joining = undefined;
      return;
    }
    this.#droppedBefore = this.dropped;
    const due = this.#farewells;
    this.#farewells = new Map();
    for (const [document, message] of due) this.#deps.bus.publish(this, document, message);
    this.#joining = Array.from(this.seats).values();
    this.#joinSome();
  }

  #joinSome(): void {
    if (this.#joining === undefined) return;
    this.#joinsDue += (this.#deps.limits.joinsPerSecond / 1000) * STEP_MS;
    for (; this.#joinsDue >= 1; this.#joinsDue -= 1) {
      const next = this.#joining.next();
      if (next.done === true) {
        this.#joining = undefined;
        this.#joinsDue = 0;
        return;
      }
      next.value.join();
      this.want(next.value);
    }
  }

  // --- the log ---

  want(seat: SeatModel): void {
    if (seat.left) return;
    if (this.#reading.has(seat)) this.#again.add(seat);
    else (seat.lacks ? this.#urgent : this.#queue).add(seat);
  }

  #readSome(): void {
    for (const waiting of [this.#urgent, this.#queue]) {
      for (const seat of waiting) {
        if (this.#reading.size >= this.#deps.limits.readsAtOnce) return;
        this.#queue.delete(seat);
        this.#urgent.delete(seat);
        this.#read(seat);
      }
    }
  }

  #read(seat: SeatModel): void {
    if (this.up) seat.stale = false;
    this.readings += 1;
    this.#reading.add(seat);
    const found: Found = seat.beginReading(this.#deps.random);
    this.#deps.store.read(() => {
      if (!this.alive) return;
      this.#reading.delete(seat);
      if (!seat.left) seat.finishReading(found);
      if (this.#again.delete(seat)) this.want(seat);
    });
  }

  get isCommitting(): boolean {
    return this.#committing;
  }

  /** Whether nothing of the last fault is left to do. */
  get isCalm(): boolean {
    const waiting = this.#queue.size + this.#urgent.size;
    return waiting === 0 && this.#joining === undefined && this.up && !this.#wasPolling;
  }

  get #mustPoll(): boolean {
    return this.#cutOff || !this.up;
  }

  #poll(now: number): void {
    const { pollMs, pollsPerSecond } = this.#deps.limits;
    this.#pollsDue = Math.min(pollsPerSecond, this.#pollsDue + (TICK_MS / 1000) * pollsPerSecond);
    if (this.#round === undefined && (this.#mustPoll || this.#wasPolling)) {
      if (!this.#mustPoll || now - this.#roundAt >= pollMs) {
        this.#wasPolling = this.#mustPoll;
        this.#roundAt = now;
        this.#round = Array.from(this.seats).values();
      }
    }
    for (; this.#round !== undefined && this.#pollsDue >= 1; this.#pollsDue -= 1) {
      const next = this.#round.next();
      if (next.done === true) this.#round = undefined;
      else this.want(next.value);
    }
  }
}
