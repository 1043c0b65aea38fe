import type { DocumentStore } from "../ports.ts";
import { eachOperation, type StoreOperation } from "./each-operation.ts";

/** What goes wrong from now on. */
export type StoreFault =
  /** The next `times` operations fail before they do anything. */
  | { readonly kind: "fail"; readonly times: number }
  /** The next `times` operations are done, but the caller is told that they failed. */
  | { readonly kind: "lose-answer"; readonly times: number }
  /** Operations wait until `heal`, and are done then. */
  | { readonly kind: "stall" }
  /** `after` more operations are done; then the process that uses this store is dead: every one fails. */
  | { readonly kind: "crash"; readonly after: number };

export interface FaultyStore {
  readonly store: DocumentStore;
  /** Operations that the inner store has done. */
  readonly done: number;
  /** Operations that wait for `heal`. */
  readonly stalled: number;
  /** Replaces the fault before; without `operations` it concerns all of them. */
  inject(fault: StoreFault, operations?: readonly StoreOperation[]): void;
  heal(): void;
}

/** A store that misbehaves on command in front of one that does not. */
export function faultyStore(inner: DocumentStore): FaultyStore {
  let fault: StoreFault | undefined;
  let concerned: ReadonlySet<string> | undefined;
  let left = 0;
  let done = 0;
  let waiting: (() => void)[] = [];

  /** Throws or waits as the fault says; returns whether the caller is to be told a lie afterwards. */
  async function suffer(): Promise<boolean> {
    if (fault === undefined) return false;
    if (fault.kind === "stall") {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return false;
    }
    left -= 1;
    if (fault.kind === "crash") {
      if (left < 0) throw new Error("the process has crashed");
      return false;
    }
    if (left < 0) return false;
    if (fault.kind === "fail") throw new Error("the store fails");
    return true;
  }

  async function run<T>(operation: StoreOperation, work: () => Promise<T>): Promise<T> {
    const lie = (concerned?.has(operation) ?? true) && (await suffer());
    const result = await work();
    done += 1;
    if (lie) throw new Error("the answer of the store is lost");
    return result;
  }

  return {
    get done() {
      return done;
    },
    get stalled() {
      return waiting.length;
    },
    inject(next, operations) {
      fault = next;
      concerned = operations === undefined ? undefined : new Set(operations);
      left = next.kind === "crash" ? next.after : next.kind === "stall" ? 0 : next.times;
    },
    heal() {
      fault = undefined;
      const released = waiting;
      waiting = [];
      for (const release of released) release();
    },
    store: eachOperation(inner, run),
  };
}
