import { Failure } from "@scriptorium/shared";
import type { StoreStats } from "../../store.ts";
import { toFailure } from "./faults.ts";

export interface GateLimits {
  /** Operations under way or waiting for a connection; beyond, new ones are refused with `overloaded`. */
  readonly queuedOperations: number;
  /** Bytes that their writes hold; beyond, the same. */
  readonly queuedBytes: number;
  /** After this an operation has failed with `try_later`, whatever the driver still hopes for. */
  readonly operationMs: number;
}

/** What passes through: reads bring nothing, writes the bytes that they hold until they are answered. */
export interface Cargo {
  readonly writes: number;
}

/** The one way to the server: bounded in number, bytes and time, with its errors in our words. */
export interface Gate {
  run<T>(work: () => Promise<T>, cargo?: Cargo): Promise<T>;
  stats(): StoreStats;
  /** Refuses new work and waits for what is under way. */
  close(): Promise<void>;
}

export function createGate(limits: GateLimits): Gate {
  const underWay = new Set<Promise<unknown>>();
  const count = { commits: 0, writes: 0, storedBytes: 0, queuedWrites: 0, queuedBytes: 0 };
  let closed = false;

  const admit = (bytes: number): void => {
    if (closed) throw new Failure("restarting", "the store is closed");
    if (underWay.size >= limits.queuedOperations || count.queuedBytes + bytes > limits.queuedBytes) {
      throw new Failure("overloaded", `${underWay.size} operations wait for the store`);
    }
  };

  /** Counts an operation until the driver has done with it, which may be after its caller has given up. */
  const track = async (work: () => Promise<unknown>, { writes }: Cargo): Promise<void> => {
    count.queuedWrites += 1;
    count.queuedBytes += writes;
    try {
      await work();
      count.commits += 1;
      count.storedBytes += writes;
    } finally {
      count.writes += 1;
      count.queuedWrites -= 1;
      count.queuedBytes -= writes;
    }
  };

  return {
    async run<T>(work: () => Promise<T>, cargo?: Cargo): Promise<T> {
      admit(cargo?.writes ?? 0);
      const running = work();
      const tracked = (cargo === undefined ? running : track(() => running, cargo)).then(
        () => undefined,
        () => undefined,
      );
      underWay.add(tracked);
      void tracked.then(() => underWay.delete(tracked));
      return inTime(running, limits.operationMs);
    },

    stats: () => ({ ...count }),

    async close() {
      closed = true;
      await Promise.all(underWay);
    },
  };
}

async function inTime<T>(running: Promise<T>, operationMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Failure("try_later", `the store has not answered for ${operationMs} ms`)),
    operationMs,
  );
  try {
    return await Promise.race([running, late.promise]);
  } catch (error) {
    throw toFailure(error);
  } finally {
    clearTimeout(timer);
  }
}
