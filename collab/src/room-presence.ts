import type { Document } from "@hocuspocus/server";
import { applyAwarenessUpdate, removeAwarenessStates } from "y-protocols/awareness";
import type { Occupant } from "./occupant.ts";
import { ELSEWHERE } from "./origin.ts";
import { writePresence, type PresenceEntry } from "./presence.ts";

const MAX_PRESENCE_CLOCK = 2 ** 31;

interface AwarenessChange {
  readonly added: number[];
  readonly updated: number[];
  readonly removed: number[];
}

export interface RoomPresenceDeps {
  readonly document: Document;
  /** How long a presence waits for company. */
  readonly windowMs: number;
  /** The window has ended. */
  readonly onDue: () => void;
}

/**
 * Who is on a live document, here and on other nodes. A Yjs client id belongs to one member of this node, or to one
 * other node; what a member shows is signed with who the server knows it to be before it comes here.
 */
export class RoomPresence {
  /** Told which client ids of this node have changed, and whether one of them is gone. */
  onChanged: ((clients: readonly number[], gone: boolean) => void) | undefined;
  readonly #deps: RoomPresenceDeps;
  readonly #owners = new Map<number, Occupant>();
  /** Members whose person has moved to another node. */
  readonly #ousted = new WeakSet<Occupant>();
  /** Client ids that another node shows. */
  readonly #elsewhere = new Map<number, string>();
  /** By how much the presence clock that others see is ahead of a client's own. */
  readonly #clocksAhead = new Map<number, number>();
  /** Presence that has not been shown yet, by client id. */
  #waiting = new Map<number, { entry: PresenceEntry; member: Occupant }>();
  #timer: NodeJS.Timeout | undefined;
  /** Authors since the last broadcast; undefined when somebody else than a member took part. */
  #authors: Set<Occupant> | undefined = new Set();
  #sealed = false;
  /** Whose presence is being applied right now; none for a removal by time-out or by leaving. */
  #applying: readonly Occupant[] | undefined;

  constructor(deps: RoomPresenceDeps) {
    this.#deps = deps;
    deps.document.awareness.on("update", (change: AwarenessChange, origin: unknown) =>
      this.#updated(change, origin),
    );
  }

  get waiting(): boolean {
    return this.#waiting.size > 0;
  }

  /**
   * Binds a Yjs client id to the first member that shows it. Another person's id is refused; one's own can move, also
   * from another node. One id for each member: what a y-websocket client sends back of people who have just left must
   * not become a ghost.
   */
  claim({ client, clock, state }: PresenceEntry, member: Occupant): boolean {
    // The clock is a count of changes. At the end of the integers it would hide who comes after with this client id.
    if (clock > MAX_PRESENCE_CLOCK) return false;
    const owner = this.#owners.get(client);
    if (owner === member) return true;
    if (member.presenceClient !== undefined || state === "null") return false;
    const { document } = this.#deps;
    if (owner !== undefined) {
      if (owner.identity.userId !== member.identity.userId) return false;
      // A reconnect that overtakes the close of the old socket: that close must not remove the caret of the new one.
      this.#release(owner, client);
    } else if (!this.#wrest({ client, clock, state }, member)) return false;
    // What Hocuspocus removes when this connection ends.
    document.getClients(member.connection).add(client);
    member.presenceClient = client;
    this.#owners.set(client, member);
    return true;
  }

  /** Takes a presence that the member has signed; shown with what is typed next, or when its window ends. */
  take(member: Occupant, entry: PresenceEntry): void {
    this.#waiting.set(entry.client, { entry, member });
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#deps.onDue();
    }, this.#deps.windowMs);
  }

  /** Shows what waits, in one awareness update for all: Hocuspocus copies every state of the document at each. */
  show(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.size === 0) return;
    const taken = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#applying = taken.map(({ member }) => member);
    const entries = taken.map(({ entry }) => this.#withClock(entry));
    applyAwarenessUpdate(this.#deps.document.awareness, writePresence(entries), this);
    this.#applying = undefined;
  }

  leave(member: Occupant): void {
    const client = member.presenceClient;
    if (client === undefined) return;
    if (this.#waiting.get(client)?.member === member) this.#waiting.delete(client);
    if (this.#owners.get(client) === member) this.#owners.delete(client);
  }

  /** Who is the author of what is broadcast now; what comes after belongs to the next broadcast. */
  seal(): ReadonlySet<Occupant> | undefined {
    this.#sealed = true;
    return this.#authors;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  // --- other nodes ---

  /** Everybody whom this node shows. */
  here(): PresenceEntry[] {
    const clients = [...this.#deps.document.awareness.states.keys()];
    return this.entriesOf(clients.filter((client) => !this.#elsewhere.has(client)));
  }

  /** What there is to say of client ids of this node; a state "null" of one that has left. */
  entriesOf(clients: Iterable<number>): PresenceEntry[] {
    const { states, meta } = this.#deps.document.awareness;
    const entries: PresenceEntry[] = [];
    for (const client of clients) {
      if (this.#elsewhere.has(client)) continue;
      const state = states.get(client);
      const clock = meta.get(client)?.clock ?? 0;
      entries.push({ client, clock, state: state === undefined ? "null" : JSON.stringify(state) });
    }
    return entries;
  }

  /** Shows what another node says of its people. `whole`: whoever it does not name has left it. */
  takeFrom(node: string, { entries, whole }: { entries: readonly PresenceEntry[]; whole: boolean }): void {
    // Only its holder can say that a client has left: one that lost it to another node hears of the end of a dead socket.
    // Whatever the clock: one node may show a client's clock ahead of what the next one that has it shows.
    const gone = entries.filter(
      ({ client, state }) => state === "null" && this.#elsewhere.get(client) === node,
    );
    this.#remove(gone.map(({ client }) => client));
    const shown = entries.filter((entry) => entry.state !== "null" && this.#cede(node, entry));
    if (shown.length > 0)
      applyAwarenessUpdate(
        this.#deps.document.awareness,
        writePresence(shown.map((entry) => this.#withClock(entry))),
        ELSEWHERE,
      );
    if (!whole) return;
    const named = new Set(entries.map(({ client }) => client));
    this.#remove(this.#clientsOf(node).filter((client) => !named.has(client)));
  }

  /** The node is gone, and its people with it. */
  forget(node: string): void {
    this.#remove(this.#clientsOf(node));
  }

  /** Whether the node may speak for this client id from now on. */
  #cede(node: string, { client, clock, state }: PresenceEntry): boolean {
    // A node may show a client's clock ahead of what the client itself may claim.
    if (clock > 2 * MAX_PRESENCE_CLOCK) return false;
    const { meta, states } = this.#deps.document.awareness;
    const owner = this.#owners.get(client);
    const holder = this.#elsewhere.get(client);
    // From one node to another with its person, and with nobody else.
    if (holder !== undefined && holder !== node && userOf(states.get(client)) !== userOf(parse(state)))
      return false;
    if (owner !== undefined) {
      const known = meta.get(client)?.clock ?? 0;
      // The person has moved, and the socket here is not known to be dead yet. What is not newer was said before it came.
      if (clock <= known || userOf(parse(state)) !== owner.identity.userId) return false;
      this.#release(owner, client);
      this.#ousted.add(owner);
    }
    // By how much it was ahead here is no concern of the node that has it now: the two would add up at every move.
    if (holder !== node) this.#clocksAhead.delete(client);
    this.#elsewhere.set(client, node);
    return true;
  }

  /** Takes over what another node shows of the same person. True also when there is nothing to take. */
  #wrest({ client, clock }: PresenceEntry, member: Occupant): boolean {
    if (!this.#elsewhere.has(client)) return true;
    const { states, meta } = this.#deps.document.awareness;
    if (userOf(states.get(client)) !== member.identity.userId) return false;
    const known = meta.get(client)?.clock ?? 0;
    // Providers send back what they hear of themselves: a socket that has lost its caret would take it again.
    if (this.#ousted.has(member) && clock <= known) return false;
    this.#elsewhere.delete(client);
    // Ahead of what the other node shows, so that it lets go and nothing that it has said before takes it back.
    this.#clocksAhead.set(client, Math.max(0, known + 1 - clock));
    return true;
  }

  #release(owner: Occupant, client: number): void {
    owner.presenceClient = undefined;
    this.#owners.delete(client);
    this.#waiting.delete(client);
    this.#deps.document.getClients(owner.connection).delete(client);
  }

  #clientsOf(node: string): number[] {
    return [...this.#elsewhere].filter(([, holder]) => holder === node).map(([client]) => client);
  }

  #remove(clients: readonly number[]): void {
    if (clients.length === 0) return;
    for (const client of clients) this.#elsewhere.delete(client);
    removeAwarenessStates(this.#deps.document.awareness, [...clients], ELSEWHERE);
  }

  /**
   * Replicas take no clock twice, and a client that returns shows its state with the clock that it left with: it would
   * not be seen again until it moves. From then on its clock is shown ahead by what makes it news.
   */
  #withClock(entry: PresenceEntry): PresenceEntry {
    const { client, clock, state } = entry;
    const { meta, states } = this.#deps.document.awareness;
    const known = meta.get(client)?.clock ?? 0;
    const ahead = this.#clocksAhead.get(client) ?? 0;
    if (state === "null" || states.has(client) || clock + ahead > known)
      return ahead === 0 ? entry : { ...entry, clock: clock + ahead };
    this.#clocksAhead.set(client, known + 1 - clock);
    return { ...entry, clock: known + 1 };
  }

  #updated({ added, updated, removed }: AwarenessChange, origin: unknown): void {
    if (this.#sealed) {
      this.#authors = new Set();
      this.#sealed = false;
    }
    if (this.#applying === undefined) this.#authors = undefined;
    else for (const member of this.#applying) this.#authors?.add(member);
    if (origin === ELSEWHERE) return;
    const here = [...added, ...updated, ...removed].filter((client) => !this.#elsewhere.has(client));
    // One that another node shows and nobody has renewed: y-protocols takes it for dead.
    for (const client of removed) this.#elsewhere.delete(client);
    if (here.length > 0) this.onChanged?.(here, removed.length > 0);
  }
}

function userOf(state: unknown): unknown {
  if (typeof state !== "object" || state === null || !("user" in state)) return undefined;
  const { user } = state;
  return typeof user === "object" && user !== null && "id" in user ? user.id : undefined;
}

function parse(state: string): unknown {
  return JSON.parse(state);
}
