import { newId } from "@scriptorium/shared";
import { createAdmission } from "./admission.ts";
import { Cluster } from "./cluster/cluster.ts";
import type { Collab, CollabDeps, CollabStats } from "./collab.ts";
import { createCompaction, type Compaction } from "./compaction.ts";
import { Flusher } from "./flush.ts";
import { DEFAULT_LIMITS, type CollabLimits } from "./limits.ts";
import { Lineage } from "./lineage.ts";
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
  const recheckDocument = (document: string): void => void lineage.recheck(document);
  const cluster =
    deps.cluster && new Cluster({ ...deps.cluster, store, limits, steady, log, recheckDocument });
  const onCommitted = (rows: readonly UpdateRow[]): void => cluster?.committed(rows);
  const paceMs = (): number => (cluster?.sharing === true ? limits.sharedCommitPaceMs : limits.commitPaceMs);
  const updateLog = new UpdateLog({ store, limits, now: steady, log, paceMs, onWritable, onCommitted });
  const compaction = createCompaction({ ...deps, limits }, serial);
  const admission = createAdmission({ access, log, links: () => sockets.links, members: () => members() });
  const owner: RoomOwner & LinkOwner = {
    now,
    steady,
    limits,
    log: updateLog,
    node: deps.cluster?.node ?? newId(now()),
    renew: (member, token) => void admission.renew(member, token),
    wantsCompaction: (room) => void compaction.run(room),
    ...createTellers({ counts, log, flusher }),
  };
  const lobby = new Lobby({ owner, store, access, admission, log, cluster, exclusive: serial });
  const lineage = new Lineage({ store, lobby, log: updateLog, serial, compaction: compaction.deps, cluster });
  let stopping = false;

  const members = (): Iterable<Occupant> => membersOf(lobby.rooms.values());
  const parts: Parts = { updateLog, compaction, sockets, lobby, counts, cluster };

  return {
    limits,
    accepting: () => !stopping && sockets.links.size < limits.sockets,
    ...createDoors({ owner, sockets, lobby }),
    read: (document) => lineage.read(document),
    remove: (document) => lineage.remove(document),
    replace: (document, update) => lineage.replace(document, update),
    recheckDocument: (document) => lineage.recheck(document),
    revokeSession: (sessionId) => admission.revokeSession(sessionId),
    recheckUser: (userId) => admission.recheckUser(userId),
    reviewAll: () => admission.reviewAll(),
    async recheckAll() {
      await admission.recheckAll();
      for (const document of lobby.rooms.keys()) await lineage.recheck(document);
    },
    stats: () => statsOf(parts),
    async stop(deadlineMs) {
      stopping = true;
      await stopParts(parts, { log, deadline: steady() + deadlineMs, steady });
      await deps.compactor.stop();
    },
  };
}

/** Where sockets come in and go out. */
function createDoors(deps: {
  owner: LinkOwner;
  sockets: Sockets;
  lobby: Lobby;
}): Pick<CollabCore, "connect" | "disconnect"> {
  const { owner, sockets, lobby } = deps;
  return {
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
  };
}

function* membersOf(rooms: Iterable<Room>): Iterable<Occupant> {
  for (const room of rooms) yield* room.members;
}

type Tellers = Pick<
  RoomOwner & LinkOwner,
  "countRefused" | "countResync" | "failed" | "flushSoon" | "flushWithTurn" | "refused"
>;

/** What rooms and links have to say that concerns nobody but the log, the counts and the flusher. */
function createTellers(to: { counts: Parts["counts"]; log: Log; flusher: Flusher }): Tellers {
  const { counts, log, flusher } = to;
  return {
    countRefused: () => (counts.refusedFrames += 1),
    countResync: () => (counts.resyncs += 1),
    failed: (room, error) =>
      log.error(
        { err: error, document: room.document.name },
        "a document failed in memory; it is loaded again",
      ),
    flushSoon: (link) => flusher.soon(link),
    flushWithTurn: (link) => flusher.withTurn(link),
    refused(link, code, detail) {
      counts.refusedFrames += 1;
      log.info({ code, detail, door: link.door, userId: link.identity?.userId }, "socket refused");
    },
  };
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
