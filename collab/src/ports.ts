import type { DocumentName, Streams } from "@scriptorium/shared";

/** What the collaboration room needs from the world. Implemented by the server's adapters, wired in compose.ts. */

/** One accepted update, as it stands in the log. Its identity is (document, epoch, node, seq): a retry is idempotent. */
export interface UpdateRow {
  readonly document: string;
  /** Lineage of the document; rows of an older epoch are never merged into a newer one. */
  readonly epoch: number;
  /** Boot id of the node that accepted it. */
  readonly node: string;
  /** Counts the node's updates of this document: without gaps while it stays loaded, and never the same number twice. */
  readonly seq: number;
  /** Unix milliseconds by the accepting node's clock; informative, never used to order. */
  readonly at: number;
  /** The authenticated author's user id, or "" for the server itself. */
  readonly by: string;
  /** Yjs update, encoding V1. */
  readonly update: Uint8Array;
}

export type RowId = Pick<UpdateRow, "document" | "epoch" | "node" | "seq">;

export type RowName = Pick<UpdateRow, "node" | "seq">;

/** A published snapshot's piece: the base or a delta on top of it. */
export interface StoredPart {
  readonly id: string;
  readonly document: string;
  readonly body: Uint8Array;
}

/**
 * The store of live documents. `heads` holds one stream per document whose head entry names the current epoch and parts
 * (see snapshot.ts); rows are what was accepted since.
 */
export interface DocumentStore {
  readonly heads: Streams;
  /** Durable when resolved. All rows or, after a rejection, any subset: the caller retries the same rows. */
  appendRows(rows: readonly UpdateRow[]): Promise<void>;
  /** Every committed row of the document's epoch, ordered by (node, seq). */
  readRows(document: string, epoch: number): Promise<UpdateRow[]>;
  /** The names of every committed row of the document's epoch, in no particular order, without their content. */
  listRows(document: string, epoch: number): Promise<RowName[]>;
  /** Those of the named rows that are still there, ordered by (node, seq). */
  getRows(ids: readonly RowId[]): Promise<UpdateRow[]>;
  /** Deletes exactly these rows. */
  removeRows(ids: readonly RowId[]): Promise<void>;
  /** Durable when resolved. The same id twice is the same part. */
  putPart(part: StoredPart): Promise<void>;
  getPart(document: string, id: string): Promise<Uint8Array | undefined>;
  removeParts(document: string, ids: readonly string[]): Promise<void>;
  /** Ids of all parts of a document with the time (ms) they were written, for sweeping what no head names. */
  listParts(document: string): Promise<{ id: string; at: number }[]>;
  /** Deletes the rows of every epoch up to and including the given one. */
  purgeRows(document: string, upToEpoch: number): Promise<void>;
}

/** Who is on the other end of a socket. */
export interface Identity {
  readonly userId: string;
  readonly sessionId: string;
  readonly name: string;
  /** CSS colour. */
  readonly color: string;
  /** Unix ms after which the socket must have presented a newer token, or is closed. */
  readonly expiresAt: number;
}

export type Permission = "write" | "read" | "none";

/** Who may come in. Asked at every open and again whenever `recheck` is called. */
export interface Access {
  /**
   * The person behind a token. Throws Failure `unauthenticated`, `token_expired` or `session_revoked`; any other error
   * means "cannot tell now" and becomes try_later. `ticket` is the y-websocket door, which also takes single-use tickets.
   */
  identify(token: string, door: "collab" | "yjs"): Promise<Identity>;
  /** `none` also for documents that do not exist. */
  permission(identity: Identity, document: DocumentName): Promise<Permission>;
  /** Whether the session is still alive; asked on recheck. */
  isLive(identity: Identity): Promise<boolean>;
}

export interface MergeInput {
  /** A base is the merged and garbage-collected state of everything; a delta merely packs the updates. */
  readonly kind: "base" | "delta";
  /** Bodies of earlier parts that it replaces, oldest first: any for a base, deltas for a delta. */
  readonly parts: readonly Uint8Array[];
  /** Yjs updates, encoding V1. */
  readonly updates: readonly Uint8Array[];
}

/** Makes the body of a part; large inputs are merged off the event loop. `part.ts` says what is in a body. */
export interface Compactor {
  merge(input: MergeInput): Promise<Uint8Array>;
  stop(): Promise<void>;
}

/** The other nodes of this installation, as the store shows them; the bus is not asked. */
export interface Peers {
  /** Boot ids of nodes that have been alive lately. */
  readonly others: ReadonlySet<string>;
  /** Whether one of them cannot use the bus: what it commits is to be seen in the store alone. */
  readonly cutOff: boolean;
}

/** Structured log; ids and sizes only, never payloads or tokens. pino's shape. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
