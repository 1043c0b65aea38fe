import type { CollabLimits } from "./limits.ts";
import type { DocumentStore, Log, UpdateRow } from "./ports.ts";
import { HEALTHY, stepStoreHealth, type StoreHealth, type StoreHealthEvent } from "./store-health.ts";

/** The most is about what a store that is back may have to wait for the commit that notices. */
const RETRY_MS = { first: 50, most: 1_000 };
const TICK_MS = 250;

/** Something that waits for a position of the log: an acknowledgement to release. */
export interface Waiter {
  committed(): void;
}

export interface UpdateLogDeps {
  readonly store: Pick<DocumentStore, "appendRows">;
  readonly limits: CollabLimits;
  /** Milliseconds that never jump: a clock that is set back must not put off the next commit. */
  readonly now: () => number;
  readonly log: Log;
  /** From the start of a commit to that of the next, under load. */
  readonly paceMs: () => number;
  /** The store has been failing for too long, or is back. */
  readonly onWritable: (writable: boolean) => void;
  /** These rows, in their order, are durable. */
  readonly onCommitted: (rows: readonly UpdateRow[]) => void;
}

/**
 * The durable log of this node: group commit with one commit in flight. `append` gives each row a position; a position
 * is committed when every row up to it is durable, so one number releases all acknowledgements up to it. A failing
 * commit is retried with the same rows for ever: what was accepted is never dropped (rules DL1-DL6 in SPEC.md).
 *
 * A class because its fields are read on every keystroke.
 */
export class UpdateLog {
  /** Position of the last appended row; 0 before the first. */
  appended = 0;
  /** Every row up to this position is durable. */
  committed = 0;
  /** The highest number that any row of this node has had, of whatever document. */
  highestSeq = 0;
  commits = 0;
  uncommittedBytes = 0;
  storedBytes = 0;
  readonly #deps: UpdateLogDeps;
  #queue: UpdateRow[] = [];
  #inFlight: UpdateRow[] = [];
  /** When the oldest row that is not committed was appended. */
  #oldest: number | undefined;
  #lastStart = Number.NEGATIVE_INFINITY;
  #waiting: { position: number; waiter: Waiter }[] = [];
  #waitingHead = 0;
  /** Takes back the scheduled commit; undefined when none is scheduled. */
  #unschedule: (() => void) | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #health: StoreHealth = HEALTHY;
  #stopped = false;

  constructor(deps: UpdateLogDeps) {
    this.#deps = deps;
  }

  get health(): StoreHealth["state"] {
    return this.#health.state;
  }

  get writable(): boolean {
    return this.#health.state !== "read-only";
  }

  get heldAcks(): number {
    return this.#waiting.length - this.#waitingHead;
  }

  /** Queues a row and returns its position. */
  append(row: UpdateRow): number {
    this.#queue.push(row);
    this.uncommittedBytes += row.update.length;
    this.appended += 1;
    this.highestSeq = Math.max(this.highestSeq, row.seq);
    this.#oldest ??= this.#deps.now();
    this.#schedule();
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS);
    if (this.uncommittedBytes > this.#deps.limits.uncommittedBytes) this.#tick();
    return this.appended;
  }

  /** Calls the waiter once everything up to the position is durable; now, if it is already. */
  whenCommitted(position: number, waiter: Waiter): void {
    if (position <= this.committed) waiter.committed();
    else this.#waiting.push({ position, waiter });
  }

  /** Resolves when everything appended so far is durable. */
  flushed(): Promise<void> {
    const position = this.appended;
    return new Promise((resolve) => this.whenCommitted(position, { committed: resolve }));
  }

  /** No more commits are started. Call after `flushed`; what is left then is lost, and was never acknowledged. */
  stop(): void {
    this.#stopped = true;
    this.#unschedule?.();
    this.#unschedule = undefined;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  /**
   * A lone edit commits at the end of this event-loop turn; under load the next commit waits for its pace after the start of
   * the one before, which bounds the number of fsyncs a second without adding latency to a quiet document.
   */
  #schedule(): void {
    if (this.#unschedule !== undefined || this.#inFlight.length > 0 || this.#stopped) return;
    const wait = this.#lastStart + this.#deps.paceMs() - this.#deps.now();
    const start = (): void => {
      this.#unschedule = undefined;
      void this.#commit();
    };
    if (wait > 0) {
      const timer = setTimeout(start, wait);
      this.#unschedule = () => clearTimeout(timer);
    } else {
      const immediate = setImmediate(start);
      this.#unschedule = () => clearImmediate(immediate);
    }
  }

  /** Takes the next batch within commitRows and commitBytes; at least one row. */
  #take(): UpdateRow[] {
    const { commitRows, commitBytes } = this.#deps.limits;
    let bytes = 0;
    let count = 0;
    for (const row of this.#queue) {
      if (count === commitRows || (count > 0 && bytes + row.update.length > commitBytes)) break;
      bytes += row.update.length;
      count += 1;
    }
    if (count === this.#queue.length) {
      const all = this.#queue;
      this.#queue = [];
      return all;
    }
    return this.#queue.splice(0, count);
  }

  async #commit(): Promise<void> {
    if (this.#queue.length === 0 || this.#inFlight.length > 0) return;
    const batch = this.#take();
    this.#inFlight = batch;
    this.#lastStart = this.#deps.now();
    let retryMs = RETRY_MS.first;
    for (;;) {
      try {
        await this.#deps.store.appendRows(batch);
        break;
      } catch (error) {
        this.#deps.log.error({ err: error, rows: batch.length }, "commit failed; holding acknowledgements");
        this.#feed({ type: "failed", now: this.#deps.now() });
        await new Promise((resolve) => setTimeout(resolve, retryMs));
        retryMs = Math.min(retryMs * 2, RETRY_MS.most);
        if (this.#stopped) return;
      }
    }
    this.#settle(batch);
  }

  #settle(batch: UpdateRow[]): void {
    this.#inFlight = [];
    this.committed += batch.length;
    this.commits += 1;
    for (const row of batch) {
      this.uncommittedBytes -= row.update.length;
      this.storedBytes += row.update.length;
    }
    // The next row's own append time is not kept: "now" is late by less than one commit, which storeGraceMs dwarfs.
    this.#oldest = this.#queue.length > 0 ? this.#deps.now() : undefined;
    if (this.#oldest === undefined) {
      clearInterval(this.#ticker);
      this.#ticker = undefined;
    } else this.#schedule();
    this.#release();
    this.#deps.onCommitted(batch);
    this.#feed({ type: "committed", backlogBytes: this.uncommittedBytes });
  }

  #release(): void {
    const waiting = this.#waiting;
    let head = this.#waitingHead;
    for (
      let next = waiting[head];
      next !== undefined && next.position <= this.committed;
      next = waiting[head]
    ) {
      head += 1;
      next.waiter.committed();
    }
    if (head === waiting.length) {
      this.#waiting = [];
      head = 0;
    } else if (head > 1_024) {
      this.#waiting = waiting.slice(head);
      head = 0;
    }
    this.#waitingHead = head;
  }

  #tick(): void {
    const now = this.#deps.now();
    this.#feed({ type: "tick", now, oldest: this.#oldest, backlogBytes: this.uncommittedBytes });
  }

  #feed(event: StoreHealthEvent): void {
    const { health, effect } = stepStoreHealth(this.#health, event, this.#deps.limits);
    this.#health = health;
    if (effect !== undefined) this.#deps.onWritable(effect === "open-writes");
  }
}
