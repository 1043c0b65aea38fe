/**
 * The one primitive for contended state (document heads, token families, first-account claim; later wallets and
 * topics): an append-only stream whose next position is won by an insert under a unique key. The loser of a race sees
 * `taken`, a retry of a write that had landed sees `seen`. There is no update, no lock and no transaction to rely on,
 * so the same code is right on SQLite, a standalone mongod, a replica set and every MongoDB-protocol server.
 */
export interface StreamEntry {
  /** Position in the stream, from 1. */
  readonly at: number;
  /** JSON-shaped value; binary fields are Uint8Array at the top level only. */
  readonly entry: Readonly<Record<string, unknown>>;
  /** The idempotency key that it was written under, if any. */
  readonly op?: string;
}

export type AppendOutcome =
  /** Written; durable when the promise resolves. */
  | "ok"
  /** Another entry holds this position: read the head again and decide anew. */
  | "taken"
  /** This op is in the stream already (whatever its position): the write had landed before. */
  | "seen";

export interface Streams {
  /** Appends under unique (stream, at) and, when `op` is given, unique (stream, op). `seen` wins over `taken`. */
  append(stream: string, entry: StreamEntry): Promise<AppendOutcome>;
  /** Entries with at >= from, ascending, at most limit. */
  read(stream: string, from: number, limit: number): Promise<StreamEntry[]>;
  /** The entry with the highest position, or undefined for an empty stream. */
  head(stream: string): Promise<StreamEntry | undefined>;
  /** Forgets entries with at < before. Never the head: trimming past it leaves the head. */
  trim(stream: string, before: number): Promise<void>;
}
