import {
  Hocuspocus,
  type Document,
  type Extension,
  type afterLoadDocumentPayload,
  type beforeUnloadDocumentPayload,
  type connectedPayload,
  type onAuthenticatePayload,
  type onDisconnectPayload,
  type onLoadDocumentPayload,
} from "@hocuspocus/server";
import { Failure, parseDocumentName } from "@scriptorium/shared";
import type { Link } from "./link.ts";
import { Member } from "./member.ts";
import { applyStored } from "./part.ts";
import type { Access, DocumentStore, Identity, Log, Permission } from "./ports.ts";
import { Refusal, refusalOf } from "./refusal.ts";
import { Room, STORED, type RoomOwner, type RoomState } from "./room.ts";
import { loadDocument } from "./snapshot.ts";

/** What travels with a connection through Hocuspocus' hooks. */
interface Context {
  readonly link: Link;
  identity?: Identity;
  permission?: Permission;
  member?: Member;
}

export interface LobbyDeps {
  readonly owner: RoomOwner;
  readonly store: DocumentStore;
  readonly access: Access;
  readonly log: Log;
  /** Runs `work` alone among all that load, replace or remove this document. */
  readonly exclusive: <T>(document: string, work: () => Promise<T>) => Promise<T>;
}

/** Longer than any socket lives: silence, stalls and expiry are judged by Link.sweep, without a timer per socket. */
const NO_TIMEOUT_MS = 7 * 24 * 3_600_000;

export interface Lobby {
  readonly hocuspocus: Hocuspocus;
  readonly rooms: ReadonlyMap<string, Room>;
  /** Lets Hocuspocus drop a document that nobody uses, if the log has all of it. */
  unloadIfIdle(room: Room): void;
}

/**
 * Hocuspocus, through its public contract: it authenticates, loads, multiplexes, batches broadcasts and keeps awareness;
 * rooms and members do the rest. Only an `extensions` array is passed, with the default hooks switched off, so that no
 * promise chain of no-ops runs per message; no hook may reject un-awaited.
 */
export function createLobby(deps: LobbyDeps): Lobby {
  const rooms = new Map<string, Room>();
  const loading = new Map<Document, RoomState>();

  async function onAuthenticate(payload: onAuthenticatePayload<Context>): Promise<Partial<Context>> {
    const { link } = payload.context;
    const name = parseDocumentName(payload.documentName);
    try {
      const identity = await deps.access.identify(payload.token, link.door);
      if (link.identity !== undefined && link.identity.userId !== identity.userId)
        throw new Failure("forbidden");
      const permission = name === undefined ? "none" : await deps.access.permission(identity, name);
      if (permission === "none") throw new Failure("forbidden");
      payload.connectionConfig.readOnly = permission !== "write" || !deps.owner.log.writable;
      link.renewed(identity);
      return { identity, permission };
    } catch (error) {
      if (!(error instanceof Failure)) deps.log.error({ err: error }, "cannot authenticate");
      throw refusalOf(error);
    }
  }

  async function onLoadDocument(payload: onLoadDocumentPayload<Context>): Promise<void> {
    const { document, documentName } = payload;
    try {
      const stored = await deps.exclusive(documentName, () => loadDocument(deps.store, documentName));
      if (stored.head.deleted) throw new Failure("document_deleted");
      let loaded: Uint8Array | undefined;
      const keep = (update: Uint8Array): void => {
        loaded = update;
      };
      document.on("update", keep);
      const updates = stored.rows.map((row) => row.update);
      applyStored(document, { parts: stored.parts, updates }, STORED);
      document.off("update", keep);
      // With parts still missing for ever, the event lacks what is parked; then the state is encoded when asked for.
      const { pendingStructs, pendingDs } = document.store;
      const whole = pendingStructs === null && pendingDs === null;
      loading.set(document, {
        document,
        epoch: stored.head.epoch,
        retired: stored.head.retired,
        rows: { count: updates.length, bytes: updates.reduce((sum, update) => sum + update.length, 0) },
        loaded: whole ? loaded : undefined,
      });
    } catch (error) {
      // Hocuspocus forgets a document that failed to load without ending the timer of its awareness.
      document.destroy();
      deps.log.error({ err: error, document: documentName }, "cannot load");
      throw refusalOf(error);
    }
  }

  async function afterLoadDocument(payload: afterLoadDocumentPayload<Context>): Promise<void> {
    const { document } = payload;
    const state = loading.get(document);
    if (state === undefined) throw new Refusal("internal");
    loading.delete(document);
    // The load itself is waiting to be broadcast; without this the first client gets the document twice.
    document.flush();
    rooms.set(document.name, new Room(deps.owner, state));
  }

  async function connected(payload: connectedPayload<Context>): Promise<void> {
    const { connection, context } = payload;
    const { link, identity, permission } = context;
    const room = rooms.get(payload.documentName);
    const stale = room === undefined || room.document !== connection.document || room.retiredAlready;
    if (stale || identity === undefined || permission === undefined)
      return link.refuse("try_later", "stale document");
    const member = new Member(room, link, { connection, identity, permission });
    connection.context.member = member;
    context.member = member;
    room.join(member);
    link.opened(member);
    member.greet();
  }

  async function onDisconnect(payload: onDisconnectPayload<Context>): Promise<void> {
    const { member } = payload.context;
    member?.room.leave(member);
  }

  async function beforeUnloadDocument(payload: beforeUnloadDocumentPayload): Promise<void> {
    const room = rooms.get(payload.documentName);
    if (room === undefined || !room.uncommitted) return;
    // Nothing in Hocuspocus asks again, so the log does.
    deps.owner.log.whenCommitted(room.lastPosition, { committed: () => unloadIfIdle(room) });
    throw new Refusal("try_later");
  }

  async function afterUnloadDocument(payload: { documentName: string }): Promise<void> {
    if (rooms.get(payload.documentName)?.document.isDestroyed === true) rooms.delete(payload.documentName);
  }

  const extension: Extension<Context> = {
    extensionName: "scriptorium",
    onAuthenticate,
    onLoadDocument,
    afterLoadDocument,
    connected,
    onDisconnect,
    beforeUnloadDocument,
    afterUnloadDocument,
  };
  const hocuspocus = new Hocuspocus<Context>({
    quiet: true,
    extensions: [extension],
    timeout: NO_TIMEOUT_MS,
    flushDelay: 0,
    ...NO_DEFAULT_HOOKS,
  });

  function unloadIfIdle(room: Room): void {
    if (rooms.get(room.document.name) === room) void hocuspocus.unloadDocument(room.document);
  }

  return { hocuspocus, rooms, unloadIfIdle };
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
