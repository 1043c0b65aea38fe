import type { CollabLimits } from "../limits.ts";
import type { DocumentStore, Log } from "../ports.ts";
import { readFromLog } from "./catch-up.ts";
import type { Seat } from "./seat.ts";

export interface ReaderDeps {
  readonly node: string;
  readonly store: DocumentStore;
  readonly limits: CollabLimits;
  readonly log: Log;
  readonly steady: () => number;
  /** Whether messages of other nodes arrive now. */
  readonly arriving: () => boolean;
  readonly onEnded: (document: string) => void;
}

/** After a failure. The document is as complete as it was, and stays `behind`. */
const RETRY_MS = 1_000;

/** Reads the log for live documents: a few at a time, each at most once at a time, in the order of asking; what is known to be missing first. */
export class Reader {
  /** Readings since the start. */
  count = 0;
  readonly #deps: ReaderDeps;
  readonly #queue = new Set<Seat>();
  /** Those that are known to lack something, before those that are looked at in turn. */
  readonly #urgent = new Set<Seat>();
  readonly #reading = new Map<Seat, Promise<void>>();
  /** Asked for while they were being read. */
  readonly #again = new Set<Seat>();
  readonly #retries = new Map<Seat, NodeJS.Timeout>();
  /** Documents to be read once more, to be sure, and not before when. */
  readonly #unsure = new Map<Seat, { notBefore: number; timer: NodeJS.Timeout | undefined }>();
  #stopped = false;
  /** Said once for all documents, until one can be read again. */
  #complained = false;

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
  }

  /** Soon; asked again while it is being read, it is read again. */
  want(seat: Seat): void {
    if (this.#stopped) return;
    if (this.#reading.has(seat)) {
      this.#again.add(seat);
      return;
    }
    this.#enqueue(seat);
    this.#next();
  }

  /** Resolves when everything that the log has by now is in memory; rejects when the log cannot be read. */
  async now(seat: Seat): Promise<void> {
    // One that is under way may have begun before what the asker has heard of. How that one ends is told elsewhere.
    await Promise.allSettled([this.#reading.get(seat)]);
    try {
      await (this.#reading.get(seat) ?? this.#start(seat));
    } catch (error) {
      // Somebody else may have wanted it too.
      this.#failed(seat, error);
      throw error;
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#queue.clear();
    this.#urgent.clear();
    for (const timer of this.#retries.values()) clearTimeout(timer);
    for (const { timer } of this.#unsure.values()) clearTimeout(timer);
  }

  #enqueue(seat: Seat): void {
    (seat.marks.behind ? this.#urgent : this.#queue).add(seat);
  }

  #next(): void {
    for (const waiting of [this.#urgent, this.#queue]) {
      for (const seat of waiting) {
        if (this.#stopped || this.#reading.size >= this.#deps.limits.readsAtOnce) return;
        this.#start(seat).catch((error: unknown) => this.#failed(seat, error));
      }
    }
  }

  async #start(seat: Seat): Promise<void> {
    this.#queue.delete(seat);
    this.#urgent.delete(seat);
    const running = this.#read(seat);
    this.#reading.set(seat, running);
    try {
      await running;
    } finally {
      this.#reading.delete(seat);
      if (this.#again.delete(seat)) this.#enqueue(seat);
      this.#next();
    }
  }

  async #read(seat: Seat): Promise<void> {
    const { store, node, arriving, onEnded } = this.#deps;
    if (seat.left || seat.room.ended) return;
    this.count += 1;
    const wasStale = seat.stale;
    // What comes to be missed while it is read is missed for the next reading. While nothing arrives, everything is.
    if (arriving()) seat.stale = false;
    try {
      const found = await readFromLog(store, seat, node);
      this.#complained = false;
      if (found === "ended") onEnded(seat.document);
      if (found === "unsure") this.#confirm(seat);
    } catch (error) {
      seat.stale ||= wasStale;
      throw error;
    }
  }

  #failed(seat: Seat, error: unknown): void {
    if (this.#stopped) return;
    const told = { err: error, document: seat.document };
    if (!this.#complained)
      this.#deps.log.warn(told, "cannot read what other nodes have written; trying again");
    this.#complained = true;
    if (this.#retries.has(seat)) return;
    const timer = setTimeout(() => {
      this.#retries.delete(seat);
      this.want(seat);
    }, RETRY_MS);
    this.#retries.set(seat, timer);
  }

  /** At the latest when the first of its unsure readings is so long ago, and once more when the last one is. */
  #confirm(seat: Seat): void {
    const { limits, steady } = this.#deps;
    const known = this.#unsure.get(seat);
    const unsure = known ?? { notBefore: 0, timer: undefined };
    unsure.notBefore = steady() + limits.confirmMs;
    if (known !== undefined) return;
    this.#unsure.set(seat, unsure);
    const wait = (ms: number): void => {
      unsure.timer = setTimeout(() => {
        const leftMs = unsure.notBefore - steady();
        if (leftMs > 0) wait(leftMs);
        else this.#unsure.delete(seat);
        this.want(seat);
      }, ms);
    };
    wait(limits.confirmMs);
  }
}
