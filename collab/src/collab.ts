import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { CollabLimits } from "./limits.ts";
import type { Bus } from "@scriptorium/shared";
import type { Access, Compactor, DocumentStore, Log, Peers } from "./ports.ts";

export interface CollabDeps {
  readonly store: DocumentStore;
  readonly access: Access;
  readonly compactor: Compactor;
  readonly log: Log;
  /** Unix ms: for what is stored and for the expiry of tokens. */
  readonly now: () => number;
  /** Milliseconds that never jump, for durations; by default the process's own monotonic clock. */
  readonly steady?: () => number;
  /** Whether this Origin header may open a socket; undefined when the client sent none (not a browser). */
  readonly allowOrigin: (origin: string | undefined, host: string | undefined) => boolean;
  readonly limits?: Partial<CollabLimits>;
  /** Where there may be other nodes on the same store; without it this node is alone. */
  readonly cluster?: ClusterDeps;
}

export interface ClusterDeps {
  /** Boot id of this node: unique for every start of every process. */
  readonly node: string;
  readonly bus: Bus;
  readonly peers: Peers;
}

/** Counts since the start, but for the first four. */
export interface ClusterStats {
  /** Other nodes that the bus hears. */
  readonly nodes: number;
  /** Live documents that other nodes have open too. */
  readonly shared: number;
  /** Live documents that miss something that was announced. */
  readonly behind: number;
  /** Whether documents are read from the log in turns, because some node cannot be heard. */
  readonly polling: boolean;
  /** Readings of the log for a document that missed something. */
  readonly reads: number;
  /** Messages that were not one of a node's. */
  readonly refused: number;
  /** Messages about rows that were in memory already. */
  readonly replayed: number;
}

/** Numbers for /metrics and /readyz. Bytes, milliseconds and counts since start. */
export interface CollabStats {
  readonly documents: number;
  readonly sockets: number;
  /** Updates accepted but not yet committed. */
  readonly uncommitted: number;
  readonly uncommittedBytes: number;
  readonly heldAcks: number;
  readonly bufferedBytes: number;
  readonly commits: number;
  readonly committedRows: number;
  /** Payload handed to the store: updates and snapshot parts, without the keys that the store adds. */
  readonly storedBytes: number;
  readonly resyncs: number;
  readonly refusedFrames: number;
  readonly compactions: number;
  readonly store: "healthy" | "failing" | "read-only";
  /** Undefined for a node that is alone by its configuration. */
  readonly cluster: ClusterStats | undefined;
}

export interface Collab {
  /** Takes over an HTTP upgrade to `/collab` or `/yjs/<name>`; false (untouched) for any other path. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
  /** The document's current state as one V1 update, from memory when live, else from the store. */
  read(document: string): Promise<Uint8Array>;
  /** Ends the sockets of a session with 4401, at once. */
  revokeSession(sessionId: string): void;
  /** Asks Access again for every open document of a user (role change, removal, disabled account). */
  recheckUser(userId: string): Promise<void>;
  /** Asks Access again for everybody and looks at every open document: what has changed may have passed unseen. */
  recheckAll(): Promise<void>;
  /** As `recheckAll`, now and then: for what a node changed and died before it could tell. Who cannot be asked about stays. */
  reviewAll(): Promise<void>;
  /** Looks whether the document was replaced or removed by another node, and sends its clients away if so. */
  recheckDocument(document: string): Promise<void>;
  /** Closes the document with `document_deleted` and removes every trace of it from the store. */
  remove(document: string): Promise<void>;
  /** Opens a new epoch holding `update` alone; clients of the old lineage get `reset`. Resolves when durable. */
  replace(document: string, update: Uint8Array, by: string): Promise<void>;
  stats(): CollabStats;
  /** Refuses new sockets, commits the log, closes sockets in a spread with 1012, ends within `deadlineMs`. */
  stop(deadlineMs: number): Promise<void>;
}
