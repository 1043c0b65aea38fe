import type { Farewell } from "./seat.ts";

/** Documents that were closed lately, or while nobody could be told: whoever has missed their last rows is told again. */
export interface Farewells {
  keep(farewell: Farewell, now: number): void;
  /** For a document that is opened again: who opens it says what there was to say. */
  take(document: string): Farewell | undefined;
  /** All of them are to be said again. */
  again(): void;
  /** Says up to so many of them. */
  say(most: number, now: number): void;
  /** Those that were said before, and need not be said again. */
  forget(before: number): void;
}

/** Many; an outage that lasts is seen in the store, by nodes that then read every document in turn. */
const MOST = 10_000;

export function createFarewells(): Farewells {
  /** The oldest first. */
  const kept = new Map<string, { readonly farewell: Farewell; at: number }>();
  const due = new Set<string>();

  const remove = (document: string): void => {
    kept.delete(document);
    due.delete(document);
  };
  return {
    keep(farewell, now) {
      const { document } = farewell;
      remove(document);
      kept.set(document, { farewell, at: now });
      const [oldest] = kept.keys();
      if (kept.size > MOST && oldest !== undefined) remove(oldest);
    },
    take(document) {
      const found = kept.get(document)?.farewell;
      remove(document);
      return found;
    },
    again() {
      for (const document of kept.keys()) due.add(document);
    },
    say(most, now) {
      let left = most;
      for (const document of due) {
        if (left === 0) return;
        left -= 1;
        due.delete(document);
        const one = kept.get(document);
        if (one === undefined) continue;
        one.farewell.say();
        one.at = now;
      }
    },
    forget(before) {
      for (const [document, { at }] of kept) if (at < before && !due.has(document)) kept.delete(document);
    },
  };
}
