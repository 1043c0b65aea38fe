import {
  Hocuspocus,
  type Document,
  type Extension,
  type beforeUnloadDocumentPayload,
  type connectedPayload,
  type onAuthenticatePayload,
  type onDisconnectPayload,
  type onLoadDocumentPayload,
} from "@hocuspocus/server";
import { Failure, parseDocumentName } from "@scriptorium/shared";
import type { Admission } from "./admission.ts";
import type { Link } from "./link.ts";
import { Member } from "./member.ts";
import { applyStored } from "./part.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { Access, DocumentStore, Identity, Log, Permission } from "./ports.ts";
import { Refusal, refusalOf } from "./refusal.ts";
import { STORED } from "./origin.ts";
import { Room, type RoomOwner, type RoomState } from "./room.ts";
import { loadDocument, type StoredDocument } from "./snapshot.ts";

/** What travels with a connection through Hocuspocus' hooks. */
interface Context {
  readonly link: Link;
  identity?: Identity;
  permission?: Permission;
  /** What `admission.changes` was when Access was asked. */
  askedAt?: number;
  member?: Member;
}

export interface LobbyDeps {
  readonly owner: RoomOwner;
  readonly store: DocumentStore;
  readonly access: Access;
  readonly admission: Pick<Admission, "recheck" | "changes">;
  readonly log: Log;
  /** Other nodes, where there may be some. */
  readonly cluster: Pick<Cluster, "opened" | "closed"> | undefined;
  /** Runs `work` alone among all that load, replace or remove this document. */
  readonly exclusive: <T>(document: string, work: () => Promise<T>) => Promise<T>;
}

/** Longer than any socket lives: silence, stalls and expiry are judged by Link.sweep, without a timer per socket. */
const NO_TIMEOUT_MS = 7 * 24 * 3_600_000;

/**
 * Hocuspocus, through its public contract: it authenticates, loads, multiplexes, batches broadcasts and keeps awareness;
 * rooms and members do the rest. Only an `extensions` array is passed, with the default hooks switched off, so that no
 * promise chain of no-ops runs per message; no hook may reject un-awaited.
 */
export class Lobby {
  readonly hocuspocus: Hocuspocus<Context>;
  readonly rooms = new Map<string, Room>();
  readonly #deps: LobbyDeps;

  constructor(deps: LobbyDeps) {
    this.#deps = deps;
    const extension: Extension<Context> = {
      extensionName: "scriptorium",
      onAuthenticate: (payload) => this.#authenticate(payload),
      onLoadDocument: (payload) => this.#load(payload),
      connected: (payload) => this.#connected(payload),
      onDisconnect: (payload) => this.#disconnected(payload),
      beforeUnloadDocument: (payload) => this.#beforeUnload(payload),
      afterUnloadDocument: (payload) => this.#unloaded(payload),
    };
    this.hocuspocus = new Hocuspocus<Context>({
      quiet: true,
      extensions: [extension],
      timeout: NO_TIMEOUT_MS,
      flushDelay: 0,
      // An early flush would run before the room has noted the author of what is in it, and skip the wrong client.
      flushMaxBytes: Number.POSITIVE_INFINITY,
      ...NO_DEFAULT_HOOKS,
    });
  }

  /** Lets Hocuspocus drop a document that nobody uses, if the log has all of it. */
  unloadIfIdle(room: Room): void {
    if (this.rooms.get(room.document.name) === room) void this.hocuspocus.unloadDocument(room.document);
  }

  async #authenticate(payload: onAuthenticatePayload<Context>): Promise<Partial<Context>> {
    const { access, admission, owner, log } = this.#deps;
    const { link } = payload.context;
    const askedAt = admission.changes;
    const name = parseDocumentName(payload.documentName);
    try {
      const identity = await access.identify(payload.token, link.door);
      // Access may be lenient about clocks; a socket that it would let in would be closed by the next sweep, over and over.
      if (identity.expiresAt <= owner.now()) throw new Failure("token_expired");
      if (link.identity !== undefined && link.identity.userId !== identity.userId)
        throw new Failure("forbidden");
      const permission = name === undefined ? "none" : await access.permission(identity, name);
      if (permission === "none") throw new Failure("forbidden");
      payload.connectionConfig.readOnly = permission !== "write" || !owner.log.writable;
      link.renewed(identity);
      return { identity, permission, askedAt };
    } catch (error) {
      if (!(error instanceof Failure)) log.error({ err: error }, "cannot authenticate");
      throw refusalOf(error);
    }
  }

  async #load({ document, documentName }: onLoadDocumentPayload<Context>): Promise<void> {
    const { store, log, owner, exclusive } = this.#deps;
    try {
      // The room must exist before the lock is given back: a replacement that comes next has to find it.
      await exclusive(documentName, async () => {
        const stored = await loadDocument(store, documentName);
        if (stored.head.deleted) throw new Failure("document_deleted");
        const room = new Room(owner, fill(document, stored));
        this.rooms.set(documentName, room);
        const parts = stored.head.parts.map((part) => part.id);
        this.#deps.cluster?.opened(room, { parts, rows: stored.rows });
      });
      // The load itself is waiting to be broadcast; without this the first client gets the document twice.
      document.flush();
    } catch (error) {
      // Hocuspocus forgets a document that failed to load without ending the timer of its awareness.
      document.destroy();
      if (!(error instanceof Failure)) log.error({ err: error, document: documentName }, "cannot load");
      throw refusalOf(error);
    }
  }

  async #connected({ connection, context, documentName }: connectedPayload<Context>): Promise<void> {
    const { link, identity, permission } = context;
    const room = this.rooms.get(documentName);
    const stale = room === undefined || room.document !== connection.document || room.ended;
    if (stale || identity === undefined || permission === undefined)
      return link.refuse("try_later", "stale document");
    const member = new Member(room, link, { connection, identity, permission });
    context.member = member;
    room.join(member);
    link.opened(member);
    member.greet();
    // Rights that changed while the document was being loaded: nobody could be told then.
    const { admission } = this.#deps;
    if (context.askedAt !== admission.changes) void admission.recheck(member);
  }

  async #disconnected({ context }: onDisconnectPayload<Context>): Promise<void> {
    context.member?.room.leave(context.member);
  }

  async #beforeUnload({ documentName }: beforeUnloadDocumentPayload): Promise<void> {
    const room = this.rooms.get(documentName);
    if (room === undefined || !room.uncommitted) return;
    // Nothing in Hocuspocus asks again, so the log does.
    this.#deps.owner.log.whenCommitted(room.lastPosition, { committed: () => this.unloadIfIdle(room) });
    throw new Refusal("try_later");
  }

  async #unloaded({ documentName }: { documentName: string }): Promise<void> {
    const room = this.rooms.get(documentName);
    if (room?.document.isDestroyed !== true) return;
    this.rooms.delete(documentName);
    this.#deps.cluster?.closed(room);
  }
}

/** Fills a fresh document from the store in one transaction, and keeps what that transaction encoded. */
function fill(document: Document, stored: StoredDocument): RoomState {
  let loaded: Uint8Array | undefined;
  const keep = (update: Uint8Array): void => {
    loaded = update;
  };
  const updates = stored.rows.map((row) => row.update);
  document.on("update", keep);
  applyStored(document, { parts: stored.parts, updates }, STORED);
  document.off("update", keep);
  // With something parked that still misses its predecessor, the event is not the whole state.
  const { pendingStructs, pendingDs } = document.store;
  const whole = pendingStructs === null && pendingDs === null;
  return {
    document,
    epoch: stored.head.epoch,
    retired: stored.head.retired,
    rows: { count: updates.length, bytes: updates.reduce((sum, update) => sum + update.length, 0) },
    loaded: whole ? loaded : undefined,
  };
}

/**
 * Hocuspocus fills in an async no-op for every hook and runs each as a promise chain, several per message. Undefined is
 * filtered out by its own `hooks()`; the contract test `[HP4]` pins that.
 */
const NO_DEFAULT_HOOKS = Object.fromEntries(
  [
    "onConfigure",
    "onListen",
    "onUpgrade",
    "onConnect",
    "connected",
    "beforeHandleMessage",
    "afterHandleMessage",
    "beforeHandleAwareness",
    "beforeSync",
    "beforeBroadcastStateless",
    "onStateless",
    "onChange",
    "onCreateDocument",
    "onLoadDocument",
    "onStoreDocument",
    "afterStoreDocument",
    "onAwarenessUpdate",
    "onRequest",
    "onDisconnect",
    "onDestroy",
  ].map((name) => [name, undefined]),
);
