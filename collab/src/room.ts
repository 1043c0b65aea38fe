import type { Document } from "@hocuspocus/server";
import * as Y from "yjs";
import { readInbound } from "./inbound.ts";
import type { CollabLimits } from "./limits.ts";
import type { Occupant, UpdateOutcome } from "./occupant.ts";
import { ELSEWHERE, MemberOrigin, STORED } from "./origin.ts";
import { applyStored } from "./part.ts";
import { RoomPresence } from "./room-presence.ts";
import type { UpdateLog } from "./update-log.ts";
import { isWellFormed } from "./well-formed.ts";
import { frame } from "./wire.ts";

/** What a room tells the lobby that owns it. */
export interface RoomOwner {
  readonly limits: CollabLimits;
  readonly log: UpdateLog;
  readonly node: string;
  /** Unix ms: for the time in a row. */
  now(): number;
  /** Milliseconds that never jump: for every duration. */
  steady(): number;
  renew(member: Occupant, token: string): void;
  /** Enough has been logged since the last compaction. */
  wantsCompaction(room: Room): void;
  countRefused(): void;
  countResync(): void;
  /** The room cannot go on; its members have been sent away and are served from the store when they return. */
  failed(room: Room, error: unknown): void;
}

/** A broadcast of Hocuspocus, framed once for all sockets of a dialect. */
export interface Broadcast {
  /** The only author of what is in it: that client has it already. */
  readonly soleAuthor: Occupant | undefined;
  readonly addressed: Buffer;
  readonly bare: Buffer;
  /** State vector of the document without what is in this broadcast. */
  stateBefore(): Uint8Array;
}

export interface RoomState {
  readonly document: Document;
  readonly epoch: number;
  readonly retired: readonly number[];
  /** Rows that the store holds beside the parts. */
  readonly rows: { count: number; bytes: number };
  /** The state that loading produced, as one update; the first clients to open are sent these very bytes. */
  readonly loaded: Uint8Array | undefined;
}

/** One live document: what is accepted goes to the log, what Hocuspocus broadcasts is framed once. */
export class Room {
  readonly document: Document;
  readonly epoch: number;
  readonly presence: RoomPresence;
  readonly members = new Set<Occupant>();
  /** Position of the last row of this document in the log. */
  lastPosition = 0;
  rowsSince: { count: number; bytes: number };
  compacting = false;
  /** Replaced, removed or failed: nobody may join this instance any more. */
  ended = false;
  /** Yjs gave up half-way through a transaction: what is in memory is not what the log says. */
  #failed = false;
  readonly #owner: RoomOwner;
  readonly #retired: ReadonlySet<number>;
  #seq: number;
  /** Bytes of the encoded state, never less than they are. */
  #bytes: number;
  #full: Uint8Array | undefined;
  /** Authors since the last broadcast; undefined when somebody else than a member took part. */
  #authors: Set<Occupant> | undefined = new Set();
  #authorsSealed = false;
  /** Updates that came in this turn, by author. */
  #inbox = new Map<MemberOrigin, Uint8Array[]>();
  /** What other nodes have committed, as it came in this turn. */
  #elsewhere: Uint8Array[] = [];
  #turn: NodeJS.Immediate | undefined;
  #lastUpdate: { data: Uint8Array; broadcast: Broadcast } | undefined;
  #lastPresence: { data: Uint8Array; broadcast: Broadcast } | undefined;

  constructor(owner: RoomOwner, state: RoomState) {
    this.#owner = owner;
    this.document = state.document;
    this.epoch = state.epoch;
    // Above every number this node has given: rows of an earlier loading may still be in the store.
    this.#seq = owner.log.highestSeq;
    this.rowsSince = { ...state.rows };
    this.#retired = new Set(state.retired);
    this.#full = state.loaded;
    this.#full ??= Y.encodeStateAsUpdate(this.document);
    this.#bytes = this.#full.length;
    state.document.on("update", (update: Uint8Array, origin: unknown) => this.#updated(update, origin));
    this.presence = new RoomPresence({
      document: state.document,
      windowMs: owner.limits.presenceWindowMs,
      onDue: () => this.settle(),
    });
  }

  get limits(): CollabLimits {
    return this.#owner.limits;
  }

  get log(): UpdateLog {
    return this.#owner.log;
  }

  get writable(): boolean {
    return this.#owner.log.writable;
  }

  /** Also settles, so that the answer is about everything that came. */
  get uncommitted(): boolean {
    this.settle();
    return this.lastPosition > this.#owner.log.committed;
  }

  steady(): number {
    return this.#owner.steady();
  }

  renew(member: Occupant, token: string): void {
    this.#owner.renew(member, token);
  }

  countRefused(): void {
    this.#owner.countRefused();
  }

  countResync(): void {
    this.#owner.countResync();
  }

  // --- updates ---

  /**
   * Takes a client's update; it is applied with all others of this turn. The member hears what became of it through `settled`.
   */
  take(update: Uint8Array, origin: MemberOrigin): void {
    const mine = this.#inbox.get(origin);
    if (mine === undefined) this.#inbox.set(origin, [update]);
    else mine.push(update);
    this.#settleWithTurn();
  }

  /** Applies a client's updates in one transaction, in their order, as one row of the log. */
  apply(updates: readonly Uint8Array[], origin: MemberOrigin): UpdateOutcome[] {
    if (this.#failed) return updates.map(() => "refused");
    const parked: Uint8Array[] = [];
    const outcomes: (Exclude<UpdateOutcome, number> | undefined)[] = [];
    const { pendingStructs, pendingDs } = this.document.store;
    // This may bring along what waited for it, which its author has not seen: such a broadcast is nobody's own.
    if (pendingStructs !== null || pendingDs !== null) this.#noteAuthor(undefined);
    try {
      this.document.transact(() => {
        // Its sender is closed at the first that is refused; the others of a hostile batch are not worth their time.
        for (const update of updates) {
          const refused = outcomes.at(-1);
          outcomes.push(refused ?? this.#integrate(update, { origin, parked }));
        }
      }, origin);
    } catch (error) {
      // The author first: it is told that the fault is its own.
      origin.member.settled("malformed");
      this.#fail(error);
      return updates.map(() => "refused");
    }
    // Parts that wait for something missing raise no event, but they are accepted all the same: log the raw bytes.
    for (const update of parked) this.#append(Uint8Array.from(update), origin.member);
    return outcomes.map((outcome) => outcome ?? this.lastPosition);
  }

  #integrate(
    update: Uint8Array,
    into: { origin: MemberOrigin; parked: Uint8Array[] },
  ): "full" | "malformed" | undefined {
    if (this.#bytes + update.length > this.limits.documentBytes && !this.#hasRoomFor(update)) return "full";
    const { store } = this.document;
    // By their bytes: Yjs merges what is parked into the object that is there.
    const structs = store.pendingStructs?.update;
    const { pendingDs } = store;
    if (!isWellFormed(update)) return "malformed";
    try {
      Y.applyUpdate(this.document, update, into.origin);
    } catch (error) {
      // Half of it is in the document: the end of the transaction must not log that, nor anything after it.
      this.#failed = true;
      throw error;
    }
    const changed = store.pendingStructs?.update !== structs || store.pendingDs !== pendingDs;
    if (changed && (store.pendingStructs !== null || store.pendingDs !== null)) into.parked.push(update);
    return undefined;
  }

  /**
   * Yjs can read an update and still not apply it, as when types are nested so deep that deleting them takes more stack
   * than there is. Its document is of no use then: it would raise no more events, and what it takes would be
   * acknowledged without being logged. So everybody starts over from the store, which has nothing of that update.
   */
  #fail(error: unknown): void {
    this.#failed = true;
    this.ended = true;
    this.#owner.failed(this, error);
    for (const member of this.members) member.link.refuse("try_later", "document failed");
  }

  /** Takes what another node has committed; it is applied and sent on with this turn, and not logged again. */
  takeFromElsewhere(update: Uint8Array): void {
    this.#elsewhere.push(update);
    this.#settleWithTurn();
  }

  /** Applies what the log has of other nodes, at once. */
  integrate(stored: { parts: readonly Uint8Array[]; updates: readonly Uint8Array[] }): void {
    if (this.#failed || (stored.parts.length === 0 && stored.updates.length === 0)) return;
    this.#noteAuthor(undefined);
    try {
      applyStored(this.document, stored, ELSEWHERE);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Applies what was taken, and sends it on: called at the end of the turn, and before anybody reads the document. */
  settle(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    if (this.#inbox.size === 0 && this.#elsewhere.length === 0 && !this.presence.waiting) return;
    const elsewhere = this.#elsewhere;
    this.#elsewhere = [];
    this.integrate({ parts: [], updates: elsewhere });
    const inbox = this.#inbox;
    this.#inbox = new Map();
    for (const [origin, updates] of inbox)
      for (const outcome of this.apply(updates, origin)) origin.member.settled(outcome);
    try {
      this.presence.show();
      this.document.flush();
    } catch (error) {
      // What was to be sent is lost to those who are here; and nothing that is called by a timer may throw.
      this.#fail(error);
    }
  }

  #settleWithTurn(): void {
    if (this.#turn !== undefined) return;
    this.#turn = setImmediate(() => this.settle());
  }

  /** The estimate only grows, so it is measured again before anybody is refused. Deleting is possible at any size. */
  #hasRoomFor(update: Uint8Array): boolean {
    this.#full ??= Y.encodeStateAsUpdate(this.document);
    this.#bytes = this.#full.length;
    return this.#bytes + update.length <= this.limits.documentBytes || addsNothing(update);
  }

  #updated(update: Uint8Array, origin: unknown): void {
    if (origin === STORED || this.#failed) return;
    const author = origin instanceof MemberOrigin ? origin.member : undefined;
    this.#full = undefined;
    this.#noteAuthor(author);
    // The node that accepted it has logged it.
    if (origin === ELSEWHERE) this.#bytes += update.length;
    else this.#append(update, author);
  }

  #append(update: Uint8Array, author: Occupant | undefined): void {
    this.#seq += 1;
    this.#bytes += update.length;
    this.lastPosition = this.log.append({
      document: this.document.name,
      epoch: this.epoch,
      node: this.#owner.node,
      seq: this.#seq,
      at: this.#owner.now(),
      by: author?.identity.userId ?? "",
      update,
    });
    this.rowsSince.count += 1;
    this.rowsSince.bytes += update.length;
    const { compactRows, compactBytes } = this.limits;
    if (this.compacting || (this.rowsSince.count < compactRows && this.rowsSince.bytes < compactBytes))
      return;
    this.#owner.wantsCompaction(this);
  }

  /** Whether the document has everything in this update already. */
  contains(update: Uint8Array): boolean | "malformed" {
    this.settle();
    try {
      return Y.snapshotContainsUpdate(Y.snapshot(this.document), update);
    } catch {
      return "malformed";
    }
  }

  /** The whole state as one V1 update, kept until the next change: a crowd that opens the document encodes it once. */
  fullState(): Uint8Array {
    this.settle();
    this.#full ??= Y.encodeStateAsUpdate(this.document);
    return this.#full;
  }

  /** What a client with this state vector lacks. `retired`: its copy belongs to a lineage that was replaced. */
  diff(stateVector: Uint8Array): Uint8Array | "malformed" | "retired" {
    let known: Map<number, number>;
    try {
      known = Y.decodeStateVector(stateVector);
    } catch {
      return "malformed";
    }
    if (known.size === 0) return this.fullState();
    this.settle();
    if (this.#isRetired(known)) return "retired";
    return Y.encodeStateAsUpdate(this.document, stateVector);
  }

  /**
   * Whether the client has something of a replaced lineage that this one lacks. Only clocks beyond ours tell: a restored
   * backup shares its client ids with the lineage that it replaced, up to the moment of the backup.
   */
  #isRetired(known: ReadonlyMap<number, number>): boolean {
    if (this.#retired.size === 0) return false;
    const ours = Y.decodeStateVector(Y.encodeStateVector(this.document));
    for (const [client, clock] of known)
      if (this.#retired.has(client) && clock > (ours.get(client) ?? 0)) return true;
    return false;
  }

  // --- broadcasts ---

  #noteAuthor(author: Occupant | undefined): void {
    if (this.#authorsSealed) {
      this.#authors = new Set();
      this.#authorsSealed = false;
    }
    if (author === undefined) this.#authors = undefined;
    else this.#authors?.add(author);
  }

  updateBroadcast(data: Uint8Array, prefixLength: number): Broadcast {
    this.#authorsSealed = true;
    if (this.#lastUpdate?.data !== data)
      this.#lastUpdate = { data, broadcast: this.#frame(data, prefixLength, this.#authors) };
    return this.#lastUpdate.broadcast;
  }

  presenceBroadcast(data: Uint8Array, prefixLength: number): Broadcast {
    const authors = this.presence.seal();
    if (this.#lastPresence?.data !== data)
      this.#lastPresence = { data, broadcast: this.#frame(data, prefixLength, authors) };
    return this.#lastPresence.broadcast;
  }

  #frame(data: Uint8Array, prefixLength: number, authors: ReadonlySet<Occupant> | undefined): Broadcast {
    const [first] = authors ?? [];
    let bare: Buffer | undefined;
    let before: Uint8Array | undefined;
    return {
      soleAuthor: authors?.size === 1 ? first : undefined,
      addressed: frame(data),
      get bare() {
        bare ??= frame(data.subarray(prefixLength));
        return bare;
      },
      stateBefore: () => {
        before ??= stateWithout(this.document, data, prefixLength);
        return before;
      },
    };
  }

  // --- members ---

  join(member: Occupant): void {
    this.members.add(member);
  }

  leave(member: Occupant): void {
    if (!this.members.delete(member)) return;
    this.presence.leave(member);
    member.left();
  }
}

/** Whether an update only deletes. False for one that cannot be read: applying it will tell. */
function addsNothing(update: Uint8Array): boolean {
  try {
    return Y.parseUpdateMeta(update).to.size === 0;
  } catch {
    return false;
  }
}

/** The document's state vector, with every client that the broadcast update advances set back to before it. */
function stateWithout(document: Y.Doc, data: Uint8Array, prefixLength: number): Uint8Array {
  const vector = Y.decodeStateVector(Y.encodeStateVector(document));
  const inbound = readInbound(data, prefixLength);
  if (inbound?.type === "update") {
    for (const [client, from] of Y.parseUpdateMeta(inbound.update).from)
      vector.set(client, Math.min(from, vector.get(client) ?? 0));
  }
  return Y.encodeStateVector(vector);
}
