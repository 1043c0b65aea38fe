import type { CollabLimits } from "../limits.ts";
import type { DocumentStore, Log } from "../ports.ts";
import { readFromLog } from "./catch-up.ts";
import type { Seat } from "./seat.ts";

export interface ReaderDeps {
  readonly node: string;
  readonly store: DocumentStore;
  readonly limits: CollabLimits;
  readonly log: Log;
  /** Whether messages of other nodes arrive now. */
  readonly arriving: () => boolean;
  readonly onEnded: (document: string) => void;
}

/** Reads the log for live documents: a few at a time, each at most once at a time, in the order of asking. */
export interface Reader {
  /** Soon; asked again while it is being read, it is read again. */
  want(seat: Seat): void;
  /** Resolves when everything that the log has by now is in memory; rejects when the log cannot be read. */
  now(seat: Seat): Promise<void>;
  /** Reads since the start. */
  readonly count: number;
  /** Documents that wait to be read. */
  readonly waiting: number;
  stop(): void;
}

/** After a failure. The document is as complete as it was, and stays `behind`. */
const RETRY_MS = 1_000;

export function createReader(deps: ReaderDeps): Reader {
  const { node, store, limits, log, arriving, onEnded } = deps;
  const queue = new Set<Seat>();
  const reading = new Map<Seat, Promise<void>>();
  const again = new Set<Seat>();
  const retries = new Set<NodeJS.Timeout>();
  let count = 0;
  let stopped = false;

  async function read(seat: Seat): Promise<void> {
    if (seat.left || seat.room.ended) return;
    count += 1;
    const wasStale = seat.stale;
    // What comes to be missed while it is read is missed for the next reading. While nothing arrives, everything is.
    if (arriving()) seat.stale = false;
    try {
      if ((await readFromLog(store, seat, node)) === "ended") onEnded(seat.document);
    } catch (error) {
      seat.stale ||= wasStale;
      throw error;
    }
  }

  /** One reading of a seat; a second asker waits for the one after the one that is under way. */
  function start(seat: Seat): Promise<void> {
    const running = read(seat).finally(() => {
      reading.delete(seat);
      if (again.delete(seat)) queue.add(seat);
      next();
    });
    reading.set(seat, running);
    return running;
  }

  function next(): void {
    for (const seat of queue) {
      if (stopped || reading.size >= limits.readsAtOnce) return;
      queue.delete(seat);
      start(seat).catch((error: unknown) => failed(seat, error));
    }
  }

  function failed(seat: Seat, error: unknown): void {
    log.warn(
      { err: error, document: seat.document },
      "cannot read what other nodes have written; trying again",
    );
    if (stopped) return;
    const timer = setTimeout(() => {
      retries.delete(timer);
      want(seat);
    }, RETRY_MS);
    retries.add(timer);
  }

  function want(seat: Seat): void {
    if (stopped) return;
    if (reading.has(seat)) {
      again.add(seat);
      return;
    }
    queue.add(seat);
    next();
  }

  return {
    want,
    async now(seat) {
      // One that is under way may have begun before what the asker has heard of.
      await reading.get(seat)?.catch(() => undefined);
      await (reading.get(seat) ?? start(seat));
    },
    get count() {
      return count;
    },
    get waiting() {
      return queue.size;
    },
    stop() {
      stopped = true;
      queue.clear();
      for (const timer of retries) clearTimeout(timer);
    },
  };
}
