import type { Worker } from "node:worker_threads";
import type { Log } from "@scriptorium/collab";
import { Failure } from "@scriptorium/shared";
import type { FromThread, InputOf, Kind, OutputOf, StoreError } from "./calls.ts";
import { isEnvironment } from "./group-commit.ts";

export interface LaneLimits {
  /** Calls that wait for an answer; beyond, new ones are refused with `overloaded`. */
  readonly queuedCalls: number;
  /** Bytes that these calls hold; beyond, the same. */
  readonly queuedBytes: number;
  /** First and longest wait before a thread that has died twice or more is started again. */
  readonly restartMs: number;
  readonly restartMaxMs: number;
  /** A thread that has not ended this long after it was told to is ended by force. */
  readonly stopMs: number;
}

export interface LaneDeps {
  readonly name: string;
  readonly start: () => Worker;
  readonly log: Log;
  readonly limits: LaneLimits;
  /** Milliseconds that never jump. */
  readonly now?: () => number;
}

export interface LaneStats {
  readonly commits: number;
  readonly calls: number;
  readonly storedBytes: number;
  readonly queuedCalls: number;
  readonly queuedBytes: number;
}

/** What a call brings along. */
export interface Cargo {
  /** Bytes that the call keeps in memory until it is answered. */
  readonly bytes: number;
  /** Buffers that change hands; the caller must not touch them again. */
  readonly transfer?: ArrayBuffer[];
}

/**
 * One thread of the store as seen from the main thread. Calls are answered in any order; when the thread dies, all that
 * wait are rejected (whether they were done is unknown, and every call can be repeated) and the next call starts it anew.
 */
export interface Lane<Calls> {
  /** Resolves when the thread has opened its files, rejects with the reason why it cannot. */
  start(): Promise<void>;
  call<K extends Kind<Calls>>(kind: K, input: InputOf<Calls, K>, cargo?: Cargo): Promise<OutputOf<Calls, K>>;
  stats(): LaneStats;
  /** Answers what was accepted, then ends the thread. */
  stop(): Promise<void>;
}

interface Waiting {
  readonly bytes: number;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

type LaneState =
  /** No thread; the next call starts one, but not before `notBefore`. */
  | { readonly kind: "down"; readonly notBefore: number }
  | { readonly kind: "up"; readonly worker: Worker; readonly exited: Promise<void> }
  | { readonly kind: "stopped" };

const steady = (): number => performance.now();
const NO_CARGO: Cargo = { bytes: 0 };

export function createLane<Calls>(deps: LaneDeps): Lane<Calls> {
  return new ThreadLane<Calls>(deps);
}

class ThreadLane<Calls> implements Lane<Calls> {
  readonly #deps: LaneDeps;
  readonly #waiting = new Map<number, Waiting>();
  #state: LaneState = { kind: "down", notBefore: 0 };
  #nextId = 1;
  #queuedBytes = 0;
  /** Deaths since the last answer. */
  #deaths = 0;
  #calls = 0;
  /** Counts of threads that are gone, and of the present one. */
  #past = { commits: 0, storedBytes: 0 };
  #present = { commits: 0, storedBytes: 0 };

  constructor(deps: LaneDeps) {
    this.#deps = deps;
  }

  start(): Promise<void> {
    const opened = Promise.withResolvers<unknown>();
    this.#spawn();
    // Id 0 is answered by the thread's first message, which says that it is open.
    this.#waiting.set(0, { bytes: 0, resolve: opened.resolve, reject: opened.reject });
    return opened.promise.then(() => undefined);
  }

  call<K extends Kind<Calls>>(
    kind: K,
    input: InputOf<Calls, K>,
    cargo: Cargo = NO_CARGO,
  ): Promise<OutputOf<Calls, K>> {
    return new Promise((resolve, reject) => {
      const worker = this.#worker(cargo.bytes);
      const id = this.#nextId;
      this.#nextId += 1;
      worker.postMessage({ id, kind, input }, cargo.transfer ?? []);
      this.#waiting.set(id, { bytes: cargo.bytes, resolve, reject });
      this.#queuedBytes += cargo.bytes;
    });
  }

  stats(): LaneStats {
    return {
      commits: this.#past.commits + this.#present.commits,
      storedBytes: this.#past.storedBytes + this.#present.storedBytes,
      calls: this.#calls,
      queuedCalls: this.#waiting.size,
      queuedBytes: this.#queuedBytes,
    };
  }

  async stop(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: "stopped" };
    if (state.kind !== "up") return;
    state.worker.postMessage("stop", []);
    const { name, log, limits } = this.#deps;
    const deadline = setTimeout(() => {
      log.error({ lane: name, stopMs: limits.stopMs }, "the store's thread does not end; ending it by force");
      void state.worker.terminate();
    }, limits.stopMs);
    await state.exited;
    clearTimeout(deadline);
  }

  /** The thread to send to; throws when there is none or it has too much to do. */
  #worker(bytes: number): Worker {
    const { limits, name, log, now = steady } = this.#deps;
    if (this.#waiting.size >= limits.queuedCalls || this.#queuedBytes + bytes > limits.queuedBytes) {
      throw new Failure("overloaded", `${this.#waiting.size} calls wait for the store's ${name}`);
    }
    if (this.#state.kind === "stopped") throw new Failure("restarting", "the store is closed");
    if (this.#state.kind === "up") return this.#state.worker;
    if (now() < this.#state.notBefore) throw new Failure("try_later", `the store's ${name} is down`);
    log.warn({ lane: name, deaths: this.#deaths }, "starting the store's thread again");
    return this.#spawn();
  }

  #spawn(): Worker {
    const worker = this.#deps.start();
    const exited = Promise.withResolvers<void>();
    let cause: unknown;
    worker.on("message", (done: FromThread) => this.#settle(done));
    worker.on("error", (error) => {
      cause = error;
    });
    worker.on("exit", () => {
      this.#bury(cause);
      exited.resolve();
    });
    this.#state = { kind: "up", worker, exited: exited.promise };
    return worker;
  }

  #settle({ answers, commits, storedBytes, trouble }: FromThread): void {
    if (trouble)
      this.#deps.log.warn({ lane: this.#deps.name, err: trouble }, "the WAL could not be checkpointed");
    // Opening well is not enough: a thread that dies at its first call each time must not be started without a pause.
    if (answers.length > 0) this.#deaths = 0;
    this.#present = { commits, storedBytes };
    this.#take(0)?.resolve(undefined);
    for (const answer of answers) {
      const waiting = this.#take(answer.id);
      this.#calls += 1;
      if ("value" in answer) waiting?.resolve(answer.value);
      else waiting?.reject(toFailure(answer.error));
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(id);
    this.#queuedBytes -= waiting.bytes;
    return waiting;
  }

  #bury(cause: unknown): void {
    const { name, log, limits, now = steady } = this.#deps;
    const { commits, storedBytes } = this.stats();
    this.#past = { commits, storedBytes };
    this.#present = { commits: 0, storedBytes: 0 };
    const opening = this.#take(0);
    const lost = [...this.#waiting.keys()];
    const stopped = this.#state.kind === "stopped";
    if (!stopped || cause !== undefined) {
      log.error({ lane: name, lost: lost.length, err: cause }, "the store's thread has ended");
    }
    if (!stopped) {
      const wait = this.#deaths === 0 ? 0 : limits.restartMs * 2 ** (this.#deaths - 1);
      this.#deaths += 1;
      this.#state = { kind: "down", notBefore: now() + Math.min(wait, limits.restartMaxMs) };
    }
    for (const id of lost) {
      this.#take(id)?.reject(
        new Failure("try_later", `the store's ${name} has ended; whether this was done is unknown`, {
          cause,
        }),
      );
    }
    opening?.reject(
      cause instanceof Error ? cause : new Error(`the store's ${name} did not start`, { cause }),
    );
  }
}

function toFailure(error: StoreError): Error {
  if (!isEnvironment(error)) return new Error(`the store refused a call: ${error.message}`);
  return new Failure("try_later", `the store cannot do this now: ${error.message}`);
}
