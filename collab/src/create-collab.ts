import { newId } from "@scriptorium/shared";
import { createAdmission } from "./admission.ts";
import { createCluster, type Cluster } from "./cluster/cluster.ts";
import type { Collab, CollabDeps, CollabStats } from "./collab.ts";
import { createCompaction, type Compaction } from "./compaction.ts";
import { Flusher } from "./flush.ts";
import { DEFAULT_LIMITS, type CollabLimits } from "./limits.ts";
import { createLineage } from "./lineage.ts";
import { Link, type Door, type LinkOwner, type Transport } from "./link.ts";
import { Lobby } from "./lobby.ts";
import type { Occupant } from "./occupant.ts";
import type { Log, UpdateRow } from "./ports.ts";
import type { Room, RoomOwner } from "./room.ts";
import { createSerial } from "./serial.ts";
import { createSockets, type Sockets } from "./sockets.ts";
import { UpdateLog } from "./update-log.ts";

/** What the endpoint (the ws server) needs; everything else is in `Collab`. */
export interface CollabCore extends Omit<Collab, "upgrade"> {
  readonly limits: CollabLimits;
  /** Whether one more socket may come in. */
  accepting(): boolean;
  /** A socket came in. The endpoint feeds the link and tells it about its end. */
  connect(transport: Transport, open: { door: Door; document?: string; token?: string }): Link;
  disconnect(link: Link): void;
}

/** Builds the room from its parts; free of sockets, which `adapters/ws-endpoint.ts` adds. */
export function createCollabCore(deps: Omit<CollabDeps, "allowOrigin">): CollabCore {
  const limits: CollabLimits = { ...DEFAULT_LIMITS, ...deps.limits };
  const { store, access, log, now, steady = () => performance.now() } = deps;
  const counts = { resyncs: 0, refusedFrames: 0 };
  const flusher = new Flusher();
  const serial = createSerial();
  const sockets = createSockets({ steady, heartbeatMs: limits.heartbeatMs });
  const onWritable = (writable: boolean): void => switchWriting(members(), { writable, log });
  const cluster =
    deps.cluster &&
    createCluster({
      ...deps.cluster,
      store,
      limits,
      steady,
      log,
      recheckDocument: (document) => void lineage.recheckDocument(document),
    });
  const onCommitted = cluster && ((rows: readonly UpdateRow[]) => cluster.committed(rows));
  const updateLog = new UpdateLog({
    store,
    limits,
    now: steady,
    log,
    onWritable,
    ...(onCommitted && { onCommitted }),
  });
  const compaction = createCompaction({ ...deps, limits }, serial);
  const admission = createAdmission({ access, log, links: () => sockets.links, members: () => members() });
  const owner: RoomOwner & LinkOwner = {
    limits,
    log: updateLog,
    node: deps.cluster?.node ?? newId(now()),
    now,
    steady,
    renew: (member, token) => void admission.renew(member, token),
    wantsCompaction: (room) => void compaction.run(room),
    countRefused: () => (counts.refusedFrames += 1),
    countResync: () => (counts.resyncs += 1),
    failed: (room, error) => tellFailed(room, { error, log }),
    flushSoon: (link) => flusher.soon(link),
    flushWithTurn: (link) => flusher.withTurn(link),
    refused(link, code, detail) {
      counts.refusedFrames += 1;
      log.info({ code, detail, door: link.door, userId: link.identity?.userId }, "socket refused");
    },
  };
  const lobby = new Lobby({ owner, store, access, admission, log, cluster, exclusive: serial });
  const lineage = createLineage({
    store,
    lobby,
    log: updateLog,
    serial,
    compaction: compaction.deps,
    cluster,
  });
  let stopping = false;

  const members = (): Iterable<Occupant> => membersOf(lobby.rooms.values());
  const parts: Parts = { updateLog, compaction, sockets, lobby, counts, cluster };

  return {
    limits,
    accepting: () => !stopping && sockets.links.size < limits.sockets,
    connect(transport, open) {
      const link = new Link(owner, transport, open.door);
      sockets.add(link);
      link.client = lobby.hocuspocus.handleConnection(link, REQUEST, { link });
      if (open.document !== undefined) link.openYjs(open.document, open.token ?? "");
      return link;
    },
    disconnect(link) {
      sockets.remove(link);
      link.closed();
    },
    ...lineage,
    revokeSession: (sessionId) => admission.revokeSession(sessionId),
    recheckUser: (userId) => admission.recheckUser(userId),
    stats: () => statsOf(parts),
    async stop(deadlineMs) {
      stopping = true;
      await stopParts(parts, { log, deadline: steady() + deadlineMs, steady });
      await deps.compactor.stop();
    },
  };
}

function* membersOf(rooms: Iterable<Room>): Iterable<Occupant> {
  for (const room of rooms) yield* room.members;
}

function tellFailed(room: Room, { error, log }: { error: unknown; log: Log }): void {
  log.error({ err: error, document: room.document.name }, "a document failed in memory; it is loaded again");
}

/** The store has been failing for too long, or is back: every writer is told, in place. */
function switchWriting(members: Iterable<Occupant>, to: { writable: boolean; log: Log }): void {
  const { writable, log } = to;
  log.warn({ writable }, writable ? "the store is back; documents are writable" : "documents are read-only");
  for (const member of members) {
    if (member.permission !== "write") continue;
    member.announce();
    member.resume();
  }
}

interface Parts {
  readonly updateLog: UpdateLog;
  readonly compaction: Compaction;
  readonly sockets: Sockets;
  readonly lobby: Lobby;
  readonly counts: { resyncs: number; refusedFrames: number };
  readonly cluster: Cluster | undefined;
}

function statsOf({ updateLog, compaction, sockets, lobby, counts, cluster }: Parts): CollabStats {
  return {
    cluster: cluster?.stats(),
    documents: lobby.rooms.size,
    sockets: sockets.links.size,
    uncommitted: updateLog.appended - updateLog.committed,
    uncommittedBytes: updateLog.uncommittedBytes,
    heldAcks: updateLog.heldAcks,
    bufferedBytes: sockets.bufferedBytes(),
    commits: updateLog.commits,
    committedRows: updateLog.committed,
    storedBytes: updateLog.storedBytes + compaction.storedBytes(),
    compactions: compaction.count(),
    store: updateLog.health,
    ...counts,
  };
}

/** Commit, close the sockets so that they do not all return at once, commit what came meanwhile. */
async function stopParts(
  parts: Parts,
  until: { log: Log; deadline: number; steady: () => number },
): Promise<void> {
  const { updateLog, compaction, sockets, lobby, cluster } = parts;
  const left = (): number => Math.max(0, until.deadline - until.steady());
  for (const room of lobby.rooms.values()) room.settle();
  await within(updateLog.flushed(), left());
  await sockets.closeInSpread(left());
  for (const room of lobby.rooms.values()) room.settle();
  await within(updateLog.flushed(), left());
  cluster?.stop();
  await within(compaction.stop(), left());
  sockets.stop();
  const lost = updateLog.appended - updateLog.committed;
  if (lost > 0) until.log.error({ updates: lost }, "stopping with updates that were never acknowledged");
  updateLog.stop();
  for (const room of lobby.rooms.values()) room.document.destroy();
}

/** One request for all sockets; who is connected is in the context, not in a URL or header that Hocuspocus would parse. */
const REQUEST = new Request("http://collab.invalid/");

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, timeout]);
  clearTimeout(timer);
}
