import type { AppendOutcome } from "@scriptorium/shared";
import type { CollectionSpec, InsertOutcome } from "../../ports.ts";
import type { RowRange } from "./row-batch.ts";

/** What may be asked of the writer's thread. Bytes are packed by row-batch.ts and entry-codec.ts. */
export interface WriteCalls {
  appendRows: { input: { rows: Uint8Array }; output: undefined };
  removeRows: { input: { ranges: readonly RowRange[] }; output: undefined };
  purgeRows: { input: { document: string; upToEpoch: number }; output: undefined };
  /** Answers whether the following chunks are wanted: no when the part is there already. */
  putChunk: { input: ChunkInput; output: boolean };
  removeParts: { input: { document: string; ids: readonly string[] }; output: undefined };
  append: { input: AppendInput; output: AppendOutcome };
  trim: { input: { stream: string; before: number }; output: undefined };
  ensureCollection: { input: { spec: CollectionSpec }; output: undefined };
  insert: { input: { table: string; id: string; body: string }; output: InsertOutcome };
  /** `fields` is a JSON object; the answer is the new document's JSON. */
  patch: {
    input: { table: string; id: string; fields: string };
    output: { body: string } | "missing" | "taken";
  };
  /** One DELETE; answers how many rows went. */
  remove: { input: Statement; output: number };
}

/** What may be asked of the reader's thread. */
export interface ReadCalls {
  rows: { input: { document: string; epoch: number }; output: Uint8Array };
  rowNames: { input: { document: string; epoch: number }; output: { node: string; seqs: number[] }[] };
  /** The rows in these ranges, which must not overlap. */
  namedRows: { input: { ranges: readonly RowRange[] }; output: Uint8Array };
  part: { input: { document: string; id: string }; output: Uint8Array | undefined };
  parts: { input: { document: string }; output: { id: string; at: number }[] };
  entries: { input: { stream: string; from: number; limit: number }; output: StoredEntry[] };
  head: { input: { stream: string }; output: StoredEntry | undefined };
  /** First column of every row: the documents' JSON. */
  bodies: { input: Statement; output: string[] };
}

export interface ChunkInput {
  readonly document: string;
  readonly id: string;
  readonly at: number;
  /** Size of the whole part. */
  readonly bytes: number;
  readonly index: number;
  readonly last: boolean;
  readonly body: Uint8Array;
}

export interface AppendInput {
  readonly stream: string;
  readonly at: number;
  readonly op: string | undefined;
  readonly body: Uint8Array;
}

export interface StoredEntry {
  readonly at: number;
  readonly op: string | undefined;
  readonly body: Uint8Array;
}

/** Built from a checked spec: its text holds no value, only names. */
export interface Statement {
  readonly sql: string;
  readonly values: readonly (string | number)[];
}

export type Kind<Calls> = keyof Calls & string;

type Of<Calls, K extends keyof Calls, Side extends "input" | "output"> =
  Calls[K] extends Record<Side, infer Value> ? Value : never;

export type InputOf<Calls, K extends keyof Calls> = Of<Calls, K, "input">;
export type OutputOf<Calls, K extends keyof Calls> = Of<Calls, K, "output">;

/** The thread's side of the calls. */
export type Handlers<Calls> = {
  readonly [K in keyof Calls]: (input: InputOf<Calls, K>) => OutputOf<Calls, K>;
};

export type Request<Calls, K extends keyof Calls = keyof Calls> = {
  [P in K]: { readonly id: number; readonly kind: P; readonly input: InputOf<Calls, P> };
}[K];

export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: StoreError };

/** An error as it crosses threads. `errcode` is SQLite's, undefined for any other error. */
export interface StoreError {
  readonly message: string;
  readonly errcode: number | undefined;
}

export interface ThreadBoot {
  readonly role: "writer" | "reader";
  readonly dir: string;
  /** Cap on the size of the database file; growing beyond it is refused as a full disk is. */
  readonly databaseBytes: number;
}

export type ToThread<Calls> = Request<Calls> | "stop";

/** Everything that one commit, or one round of reads, has settled. */
export interface FromThread {
  readonly answers: readonly Answer[];
  readonly commits: number;
  readonly storedBytes: number;
  /** Why the WAL could not be copied into the database this time; it is tried again, and commits go on meanwhile. */
  readonly trouble?: StoreError | undefined;
}
