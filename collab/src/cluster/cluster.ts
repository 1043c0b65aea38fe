import type { ClusterDeps } from "../collab.ts";
import type { CollabLimits } from "../limits.ts";
import type { DocumentStore, Log, UpdateRow } from "../ports.ts";
import type { Room } from "../room.ts";
import { createLeases } from "./leases.ts";
import { createReader } from "./reader.ts";
import { Seat, type SeatOwner } from "./seat.ts";

/** This node among the others: what they have committed comes into its documents, and the other way round. */
export interface Cluster {
  /** A document has been loaded; `parts` are those that its head named. */
  opened(room: Room, parts: Iterable<string>): void;
  closed(room: Room): void;
  /** The store has these rows of this node now. */
  committed(rows: readonly UpdateRow[]): void;
  /** Resolves when the live document has what all nodes have committed by now, if others may have written it. */
  complete(room: Room): Promise<void>;
  stats(): ClusterStats;
  /** Says goodbye: its people are gone from other nodes at once. */
  stop(): void;
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

export interface ClusterCoreDeps extends ClusterDeps {
  readonly store: DocumentStore;
  readonly limits: CollabLimits;
  readonly steady: () => number;
  readonly log: Log;
  /** The document has, or may have, another epoch. */
  readonly recheckDocument: (document: string) => void;
}

const TICK_MS = 100;

export function createCluster(deps: ClusterCoreDeps): Cluster {
  const { node, bus, peers, limits, steady, recheckDocument } = deps;
  const seats = new Map<string, Seat>();
  const counts = { refused: 0, replayed: 0 };
  const reader = createReader({ ...deps, arriving: () => bus.state === "up", onEnded: recheckDocument });
  const owner: SeatOwner = {
    node,
    bus,
    limits,
    wantsReading: (seat) => reader.want(seat),
    suspectsEnd: recheckDocument,
    countRefused: () => (counts.refused += 1),
    countReplayed: () => (counts.replayed += 1),
  };
  const leases = createLeases({
    ...deps,
    countRefused: owner.countRefused,
    onGone(other, heardAt) {
      for (const seat of seats.values()) {
        const shared = seat.sharers.has(other);
        seat.forget(other);
        // It may have committed something and died before it could say so; also to one that it had not heard of yet.
        if (shared || seat.openedAt >= heardAt) reader.want(seat);
      }
    },
  });
  const farewells = createFarewells();
  const mustPoll = (): boolean => peers.cutOff || (bus.state === "down" && peers.others.size > 0);
  const poller = createPoller({ seats, limits, steady, mustPoll, want: (seat) => reader.want(seat) });
  const unlisten = bus.whenChanged((state) => {
    for (const seat of seats.values()) {
      seat.stale = true;
      if (state === "down") continue;
      seat.join();
      reader.want(seat);
    }
    if (state === "up") farewells.say();
  });
  let digestAt = steady();
  const ticker = setInterval(() => {
    poller.tick();
    if (steady() - digestAt < limits.digestMs) return;
    digestAt = steady();
    for (const seat of seats.values()) seat.digest();
  }, TICK_MS);

  return {
    opened(room, parts) {
      const { name } = room.document;
      seats.get(name)?.leave();
      seats.set(name, new Seat(owner, room, { parts, at: steady() }));
    },
    closed(room) {
      const seat = seats.get(room.document.name);
      if (seat?.room !== room) return;
      if (bus.state === "down") farewells.keep(seat);
      seat.leave();
      seats.delete(room.document.name);
    },
    committed(rows) {
      for (const [document, own] of byDocument(rows)) seats.get(document)?.committed(own);
    },
    async complete(room) {
      const seat = seats.get(room.document.name);
      if (seat?.room === room && (seat.sharers.size > 0 || seat.behind || mustPoll())) await reader.now(seat);
    },
    stats() {
      const all = [...seats.values()];
      return {
        nodes: leases.size,
        shared: all.filter((seat) => seat.sharers.size > 0).length,
        behind: all.filter((seat) => seat.behind).length,
        polling: mustPoll(),
        reads: reader.count,
        ...counts,
      };
    },
    stop() {
      clearInterval(ticker);
      unlisten();
      reader.stop();
      for (const seat of seats.values()) seat.leave();
      seats.clear();
      leases.stop();
    },
  };
}

/** Many; an outage that lasts is seen in the store, by nodes that then read every document in turn. */
const MOST_FAREWELLS = 10_000;

/** Documents that were closed while nobody could be told of their last rows. They are told when the bus is back. */
function createFarewells() {
  let kept = new Map<string, () => void>();
  return {
    keep(seat: Seat): void {
      kept.set(seat.document, seat.farewell());
      const [oldest] = kept.keys();
      if (kept.size > MOST_FAREWELLS && oldest !== undefined) kept.delete(oldest);
    },
    say(): void {
      const due = kept;
      kept = new Map();
      for (const say of due.values()) say();
    },
  };
}

interface PollerDeps {
  readonly seats: ReadonlyMap<string, Seat>;
  readonly limits: CollabLimits;
  readonly steady: () => number;
  readonly mustPoll: () => boolean;
  readonly want: (seat: Seat) => void;
}

/**
 * While some node cannot be heard, every live document is read in turn: each every `pollMs`, or, when there are very many,
 * as often as `pollsPerSecond` allows. One round more when it can be heard again: it may have committed something last.
 */
function createPoller({ seats, limits, steady, mustPoll, want }: PollerDeps) {
  let round: Iterator<Seat> | undefined;
  let startedAt = Number.NEGATIVE_INFINITY;
  let due = 0;
  let at = steady();
  let wasPolling = false;

  function begin(now: number): void {
    const polling = mustPoll();
    if (!polling && !wasPolling) return;
    if (polling && now - startedAt < limits.pollMs) return;
    wasPolling = polling;
    startedAt = now;
    round = [...seats.values()].values();
  }

  return {
    tick(): void {
      const now = steady();
      due = Math.min(limits.pollsPerSecond, due + ((now - at) / 1_000) * limits.pollsPerSecond);
      at = now;
      if (round === undefined) begin(now);
      for (; round !== undefined && due >= 1; due -= 1) {
        const next = round.next();
        if (next.done === true) round = undefined;
        else want(next.value);
      }
    },
  };
}

/** In their order, which is the order of their numbers. */
function byDocument(rows: readonly UpdateRow[]): Map<string, UpdateRow[]> {
  const found = new Map<string, UpdateRow[]>();
  for (const row of rows) {
    const own = found.get(row.document);
    if (own === undefined) found.set(row.document, [row]);
    else own.push(row);
  }
  return found;
}
