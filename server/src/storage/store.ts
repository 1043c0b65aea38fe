import type { DocumentStore } from "@scriptorium/collab";
import type { Streams } from "@scriptorium/shared";
import type { OpenCollection } from "./ports.ts";

/** Counts since the store was opened. */
export interface StoreStats {
  /** Transactions made durable; one carries every operation that was waiting when it began. */
  readonly commits: number;
  /** Write operations answered. */
  readonly writes: number;
  /** Bytes of keys and values handed to the store, numbers at the width in which they are stored. */
  readonly storedBytes: number;
  /** Write operations waiting for their commit, and the bytes that they hold. */
  readonly queuedWrites: number;
  readonly queuedBytes: number;
}

/** An open store: all ports over one place of data. Every adapter's `open…` gives this shape. */
export interface Store {
  readonly streams: Streams;
  readonly documents: DocumentStore;
  readonly open: OpenCollection;
  stats(): StoreStats;
  /** Refuses new work, finishes what was accepted, gives back threads, files and the lock. */
  close(): Promise<void>;
}
