import { Failure, newId, parseDocumentName, type FailureCode } from "@scriptorium/shared";
import * as Y from "yjs";
import type { Collab, CollabDeps, CollabStats } from "./collab.ts";
import { createCompaction } from "./compaction.ts";
import { Flusher } from "./flush.ts";
import { DEFAULT_LIMITS, type CollabLimits } from "./limits.ts";
import { Link, type Door, type LinkOwner, type Transport } from "./link.ts";
import { createLobby } from "./lobby.ts";
import type { Member } from "./member.ts";
import { applyStored } from "./part.ts";
import type { Room, RoomOwner } from "./room.ts";
import { createSerial } from "./serial.ts";
import { loadDocument, replaceDocument } from "./snapshot.ts";
import { UpdateLog } from "./update-log.ts";

const SWEEP_MS = 500;

/** What the endpoint (the ws server) needs; everything else is in `Collab`. */
export interface CollabCore extends Omit<Collab, "upgrade" | "stop"> {
  readonly limits: CollabLimits;
  readonly accepting: boolean;
  readonly sockets: number;
  /** A socket came in. The endpoint feeds the link and tells it about its end. */
  connect(transport: Transport, open: { door: Door; document?: string; token?: string }): Link;
  disconnect(link: Link): void;
  stop(deadlineMs: number): Promise<void>;
}

/** The room's core, free of sockets. */
export function createCollabCore(deps: Omit<CollabDeps, "allowOrigin">): CollabCore {
  const limits: CollabLimits = { ...DEFAULT_LIMITS, ...deps.limits };
  const { store, access, log, now } = deps;
  const links = new Set<Link>();
  const flusher = new Flusher();
  const serial = createSerial();
  const counts = { resyncs: 0, refusedFrames: 0 };
  let accepting = true;
  let lastHeartbeat = now();

  const updateLog = new UpdateLog({ store, limits, now, log, onWritable: setWritable });
  const compaction = createCompaction({ ...deps, limits }, serial);
  const owner: RoomOwner & LinkOwner = {
    limits,
    log: updateLog,
    node: newId(now()),
    now,
    renew: (member, token) => void renew(member, token),
    wantsCompaction: (room) => void compaction.run(room),
    countRefused: () => (counts.refusedFrames += 1),
    countResync: () => (counts.resyncs += 1),
    flushSoon: (link) => flusher.soon(link),
    flushWithTurn: (link) => flusher.withTurn(link),
    refused(link, code, detail) {
      counts.refusedFrames += 1;
      log.info({ code, detail, door: link.door, userId: link.identity?.userId }, "socket refused");
    },
  };
  const lobby = createLobby({ owner, store, access, log, exclusive: serial });
  const sweeper = setInterval(sweep, SWEEP_MS);

  function sweep(): void {
    const at = now();
    const heartbeat = at - lastHeartbeat >= limits.heartbeatMs;
    if (heartbeat) lastHeartbeat = at;
    for (const link of links) link.sweep(at, heartbeat);
  }

  function setWritable(writable: boolean): void {
    log.warn(
      { writable },
      writable ? "the store is back; documents are writable" : "documents are read-only",
    );
    for (const member of members()) {
      if (member.permission !== "write") continue;
      member.announce();
      if (writable) member.resume();
    }
  }

  function* members(): Iterable<Member> {
    for (const room of lobby.rooms.values()) yield* room.members;
  }

  async function renew(member: Member, token: string): Promise<void> {
    const { link } = member;
    try {
      const identity = await access.identify(token, link.door);
      if (identity.userId !== member.identity.userId) throw new Failure("forbidden");
      for (const each of link.members.values()) (each as Member).identity = identity;
      link.renewed(identity);
    } catch (error) {
      if (error instanceof Failure) link.refuse(error.code, "token renewal");
      // The old token goes on to its own expiry; the sweep asks no second time, the client shows one when it reconnects.
      else log.error({ err: error }, "cannot renew a token");
    }
  }

  async function recheck(member: Member): Promise<void> {
    const name = parseDocumentName(member.room.document.name);
    if (name === undefined) return;
    if (!(await access.isLive(member.identity))) return member.link.refuse("session_revoked", "");
    const permission = await access.permission(member.identity, name);
    if (permission === "none") return member.link.refuse("forbidden", "");
    if (permission === member.permission) return;
    member.permission = permission;
    member.announce();
    member.resume();
  }

  async function recheckUser(userId: string): Promise<void> {
    const theirs = [...members()].filter((member) => member.identity.userId === userId);
    await Promise.all(
      theirs.map((member) =>
        recheck(member).catch((error: unknown) => {
          // When it cannot be told, the safe answer is to start over: the client reconnects and is asked again.
          log.error({ err: error, userId }, "cannot recheck a member");
          member.link.refuse("try_later", "recheck");
        }),
      ),
    );
  }

  function revokeSession(sessionId: string): void {
    for (const link of links) if (link.identity?.sessionId === sessionId) link.refuse("session_revoked", "");
  }

  /** What the store has of a document, as one V1 update. */
  async function stored(document: string): Promise<{ state: Uint8Array; deleted: boolean }> {
    const found = await loadDocument(store, document);
    const doc = new Y.Doc();
    applyStored(doc, { parts: found.parts, updates: found.rows.map((row) => row.update) }, undefined);
    const state = Y.encodeStateAsUpdate(doc);
    doc.destroy();
    return { state, deleted: found.head.deleted };
  }

  async function read(document: string): Promise<Uint8Array> {
    const room = lobby.rooms.get(document);
    if (room !== undefined) return room.fullState();
    const { state, deleted } = await stored(document);
    if (deleted) throw new Failure("document_deleted");
    return state;
  }

  /** Ends the lineage of a document: nobody may join or write the live one, its clients are told, its rows are gone. */
  async function end(document: string, update: Uint8Array | undefined, code: FailureCode): Promise<void> {
    await serial(document, async () => {
      const room = lobby.rooms.get(document);
      if (room !== undefined) {
        room.retiredAlready = true;
        await updateLog.flushed();
      }
      const state = room?.fullState() ?? (await stored(document)).state;
      const retired = Y.decodeStateVector(Y.encodeStateVectorFromUpdate(state)).keys();
      await replaceDocument(compaction.deps, document, { update, retired });
      if (room !== undefined) evict(room, code);
    });
  }

  function evict(room: Room, code: FailureCode): void {
    for (const member of room.members) {
      if (code === "document_replaced") member.reset();
      else member.link.refuse(code, "");
    }
    lobby.unloadIfIdle(room);
  }

  function connect(transport: Transport, open: { door: Door; document?: string; token?: string }): Link {
    const link = new Link(owner, transport, open.door);
    links.add(link);
    link.client = lobby.hocuspocus.handleConnection(link, REQUEST, { link });
    if (open.document !== undefined) link.openYjs(open.document, open.token ?? "");
    return link;
  }

  function disconnect(link: Link): void {
    links.delete(link);
    link.closed();
  }

  /** Commit, tell the clients in a spread so that they do not all return at once, commit what came meanwhile. */
  async function stop(deadlineMs: number): Promise<void> {
    const deadline = now() + deadlineMs;
    accepting = false;
    await within(updateLog.flushed(), deadline - now());
    await closeInSpread([...links], Math.min(SPREAD_MS, (deadline - now()) / 3));
    await within(updateLog.flushed(), deadline - now());
    await within(compaction.stop(), deadline - now());
    clearInterval(sweeper);
    if (updateLog.committed < updateLog.appended)
      log.error(
        { rows: updateLog.appended - updateLog.committed },
        "stopping with updates that were never acknowledged",
      );
    updateLog.stop();
    for (const room of lobby.rooms.values()) room.document.destroy();
    await deps.compactor.stop();
  }

  async function closeInSpread(open: readonly Link[], spreadMs: number): Promise<void> {
    const started = now();
    for (const [index, link] of open.entries()) {
      const due = (index / open.length) * spreadMs - (now() - started);
      if (due > 1) await new Promise((resolve) => setTimeout(resolve, due));
      link.refuse("restarting", "");
    }
  }

  function stats(): CollabStats {
    return {
      documents: lobby.rooms.size,
      sockets: links.size,
      uncommitted: updateLog.appended - updateLog.committed,
      uncommittedBytes: updateLog.uncommittedBytes,
      heldAcks: updateLog.heldAcks,
      bufferedBytes: [...links].reduce((sum, link) => sum + link.bufferedBytes, 0),
      commits: updateLog.commits,
      committedRows: updateLog.committed,
      storedBytes: updateLog.storedBytes + compaction.storedBytes(),
      resyncs: counts.resyncs,
      refusedFrames: counts.refusedFrames,
      compactions: compaction.count(),
      store: updateLog.health,
    };
  }

  return {
    limits,
    get accepting() {
      return accepting && links.size < limits.sockets;
    },
    get sockets() {
      return links.size;
    },
    connect,
    disconnect,
    read,
    revokeSession,
    recheckUser,
    remove: (document) => end(document, undefined, "document_deleted"),
    replace: (document, update) => end(document, update, "document_replaced"),
    stats,
    stop,
  };
}

/** How long the closing of all sockets is spread at most: the provider's first retry comes one fixed second later. */
const SPREAD_MS = 3_000;

/**
 * One request for all sockets. Hocuspocus parses its URL on every update and hands its headers to hooks that we do not
 * have; who is connected is in the context instead.
 */
const REQUEST = new Request("http://collab.invalid/");

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.max(0, ms));
  });
  await Promise.race([work, timeout]);
  clearTimeout(timer);
}
