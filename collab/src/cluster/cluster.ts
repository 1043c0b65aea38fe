import type { BusState } from "@scriptorium/shared";
import type { ClusterDeps, ClusterStats } from "../collab.ts";
import type { CollabLimits } from "../limits.ts";
import type { DocumentStore, Log, UpdateRow } from "../ports.ts";
import type { Room } from "../room.ts";
import { createFarewells } from "./farewells.ts";
import { createLeases, type Leases } from "./leases.ts";
import { Reader } from "./reader.ts";
import { Seat, type Opened, type SeatOwner } from "./seat.ts";

export interface ClusterCoreDeps extends ClusterDeps {
  readonly store: DocumentStore;
  readonly limits: CollabLimits;
  readonly steady: () => number;
  readonly log: Log;
  /** The document has, or may have, another epoch. */
  readonly recheckDocument: (document: string) => void;
}

const TICK_MS = 100;
/**
 * Documents that are joined again in one tick, and as many of which leave is taken again: by one node, and by all of them
 * together. Thousands at once would not fit into the bus, and each join is answered: with 500 from each of a hundred nodes
 * Redis never came out of it (docs/scaling.md).
 */
const JOINS_A_TICK = { most: 500, together: 2_000 };
/** The longest pause between two attempts to make up for messages that the bus did not take. */
const MAKE_UP_MS = 60_000;

/** This node among the others: what they have committed comes into its documents, and the other way round. */
export class Cluster {
  readonly #deps: ClusterCoreDeps;
  readonly #seats = new Map<string, Seat>();
  readonly #owner: SeatOwner;
  readonly #reader: Reader;
  readonly #leases: Leases;
  readonly #poller: Poller;
  readonly #farewells = createFarewells();
  readonly #counts = { refused: 0, replayed: 0 };
  readonly #ends: (() => void)[] = [];
  #digestAt: number;
  /** Messages that the bus has not taken so far, and when that is made up for next. */
  #dropped = 0;
  #makeUp = { at: Number.NEGATIVE_INFINITY, pauseMs: 0 };
  /** Documents to be joined again. */
  readonly #joining = new Set<Seat>();

  constructor(deps: ClusterCoreDeps) {
    this.#deps = deps;
    const { node, bus, limits, recheckDocument } = deps;
    const countRefused = (): void => void (this.#counts.refused += 1);
    this.#reader = new Reader({ ...deps, arriving: () => bus.state === "up", onEnded: recheckDocument });
    this.#owner = {
      node,
      bus,
      limits,
      steady: deps.steady,
      wantsReading: (seat) => this.#reader.want(seat),
      hasPeers: () => deps.peers.others.size > 0,
      heard: (other) => this.#leases.heard(other),
      suspectsEnd: recheckDocument,
      countRefused,
      countReplayed: () => (this.#counts.replayed += 1),
    };
    this.#leases = createLeases({
      ...deps,
      countRefused,
      onGone: (other, at) => this.#gone(other, at),
      onSlept: () => this.#rejoin(),
    });
    this.#poller = createPoller({
      ...deps,
      seats: this.#seats,
      mustPoll: () => this.#mustPoll(),
      want: (seat) => this.#reader.want(seat),
    });
    this.#digestAt = deps.steady();
    const ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#ends.push(
      () => clearInterval(ticker),
      bus.whenChanged((state) => this.#busChanged(state)),
    );
  }

  /** A document has been loaded. */
  opened(room: Room, from: Opened): void {
    const { name } = room.document;
    const before = this.#seats.get(name);
    before?.leave();
    // What it has committed of the document before is told with its joining.
    const told = this.#farewells.take(name) ?? before?.farewell();
    const last = told?.epoch === room.epoch ? told.last : 0;
    this.#seats.set(name, new Seat(this.#owner, room, { ...from, last, at: this.#deps.steady() }));
  }

  closed(room: Room): void {
    const seat = this.#seats.get(room.document.name);
    if (seat?.room !== room) return;
    const { peers, steady } = this.#deps;
    // Also while the bus is up: what was given to it last may be on a connection that breaks now.
    if (peers.others.size > 0) this.#farewells.keep(seat.farewell(), steady());
    seat.leave();
    this.#joining.delete(seat);
    this.#seats.delete(room.document.name);
  }

  /** The store has these rows of this node now. */
  committed(rows: readonly UpdateRow[]): void {
    for (const [document, own] of byDocument(rows)) this.#seats.get(document)?.committed(own);
  }

  /** Resolves when the live document has what all nodes have committed by now, if others may have written it. */
  async complete(room: Room): Promise<void> {
    const seat = this.#seats.get(room.document.name);
    if (seat?.room !== room) return;
    // Also when nobody is known to have it open: a node may have joined just now, and have acknowledged something.
    const mayLack = this.#deps.peers.others.size > 0 || seat.sharers.size > 0;
    if (mayLack || this.#mustPoll()) await this.#reader.now(seat);
  }

  /** Whether people on another node wait for what is committed here. */
  get sharing(): boolean {
    for (const seat of this.#seats.values()) if (seat.sharers.size > 0) return true;
    return false;
  }

  stats(): ClusterStats {
    const seats = [...this.#seats.values()];
    return {
      nodes: this.#leases.size,
      shared: seats.filter((seat) => seat.sharers.size > 0).length,
      behind: seats.filter((seat) => seat.behind).length,
      polling: this.#mustPoll(),
      reads: this.#reader.count,
      ...this.#counts,
    };
  }

  /** Says goodbye: its people are gone from other nodes at once. */
  stop(): void {
    for (const end of this.#ends) end();
    this.#reader.stop();
    for (const seat of this.#seats.values()) seat.leave();
    this.#seats.clear();
    this.#joining.clear();
    this.#leases.stop();
  }

  /** Some node cannot be heard, or none: what it commits is to be seen in the log alone. */
  #mustPoll(): boolean {
    const { peers, bus } = this.#deps;
    return peers.cutOff || (bus.state === "down" && peers.others.size > 0);
  }

  #tick(): void {
    this.#poller.tick();
    this.#joinSome();
    const now = this.#deps.steady();
    if (now - this.#digestAt < this.#deps.limits.digestMs) return;
    this.#digestAt = now;
    for (const seat of this.#seats.values()) seat.digest();
    this.#makeUpForDropped(now);
  }

  /** Somebody may not know that we listen, or what we have committed: as after an outage. Ever more seldom while it goes on. */
  #makeUpForDropped(now: number): void {
    const { bus, limits } = this.#deps;
    const { dropped } = bus.stats();
    if (dropped === this.#dropped) {
      if (now >= this.#makeUp.at + this.#makeUp.pauseMs) this.#makeUp.pauseMs = 0;
      // A bus that took everything, and has not been down since: what it was given a while ago has been heard.
      if (bus.state === "up") this.#farewells.forget(now - limits.digestMs);
      return;
    }
    if (bus.state === "down" || now < this.#makeUp.at) return;
    const pauseMs = Math.min(MAKE_UP_MS, Math.max(limits.digestMs, this.#makeUp.pauseMs * 2));
    this.#makeUp = { at: now + pauseMs, pauseMs };
    this.#dropped = dropped;
    this.#farewells.again();
    this.#rejoin();
  }

  #gone(node: string, heardAt: number): void {
    for (const seat of this.#seats.values()) {
      const shared = seat.sharers.has(node);
      seat.forget(node);
      // It may have committed something and died before it could say so; also to one that it had not heard of yet.
      if (shared || seat.openedAt >= heardAt) this.#reader.want(seat);
    }
  }

  #busChanged(state: BusState): void {
    if (state === "down") {
      for (const seat of this.#seats.values()) seat.stale = true;
      return;
    }
    this.#dropped = this.#deps.bus.stats().dropped;
    this.#farewells.again();
    this.#rejoin();
  }

  /** Every document is joined again and read: what was said meanwhile, and to whom, is not known. */
  #rejoin(): void {
    for (const seat of this.#seats.values()) {
      seat.stale = true;
      this.#joining.add(seat);
    }
    this.#joinSome();
  }

  #joinSome(): void {
    const { bus, peers, steady } = this.#deps;
    if (bus.state === "down") return;
    const share = Math.floor(JOINS_A_TICK.together / (peers.others.size + 1));
    let left = Math.min(JOINS_A_TICK.most, Math.max(1, share));
    this.#farewells.say(left, steady());
    for (const seat of this.#joining) {
      if (left === 0) return;
      left -= 1;
      this.#joining.delete(seat);
      seat.join();
      this.#reader.want(seat);
    }
  }
}

interface Poller {
  tick(): void;
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
function createPoller({ seats, limits, steady, mustPoll, want }: PollerDeps): Poller {
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
