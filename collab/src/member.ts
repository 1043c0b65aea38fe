import type { Connection } from "@hocuspocus/server";
import { MESSAGE, SYNC, type ReadOnlyReason } from "@scriptorium/shared";
import type { Awareness } from "y-protocols/awareness";
import { encodeAwarenessUpdate } from "y-protocols/awareness";
import * as Y from "yjs";
import { readInbound, type Inbound } from "./inbound.ts";
import type { Link, OpenDocument } from "./link.ts";
import type { Occupant, UpdateOutcome } from "./occupant.ts";
import { MemberOrigin } from "./origin.ts";
import type { Identity, Permission } from "./ports.ts";
import { readPresence, signState, type PresenceEntry } from "./presence.ts";
import type { Room } from "./room.ts";
import type { Waiter } from "./update-log.ts";
import {
  addressPrefix,
  authenticatedMessage,
  awarenessMessage,
  frame,
  noticeMessage,
  syncMessage,
  syncStatusMessage,
} from "./wire.ts";

/** What a large message costs of the message rate, beside the message itself. */
const BYTES_PER_MESSAGE = 256 * 1024;
/** What a presence message costs of the message rate; see limits.ts. */
const PRESENCE_COST = 0.02;

/** An answer to sync step 1 that is larger than this is written at once. */
const ANSWER_BYTES = 1_024;

/** One client's hold on one document: permission, acknowledgements, catching up, presence. */
export class Member implements OpenDocument, Occupant, Waiter {
  readonly address: string;
  readonly prefix: Uint8Array;
  readonly link: Link;
  readonly room: Room;
  readonly connection: Connection;
  identity: Identity;
  permission: Permission;
  /** The Yjs client id under which this member's presence is shown. */
  presenceClient: number | undefined;
  readonly #origin: MemberOrigin;
  /** Sync step 1 was answered: from here on broadcasts complete the client's state. */
  #synced = false;
  /** Updates that came before sync step 1: typed while the provider was fetching its token. */
  /** What the client had when the first broadcast was withheld from it. */
  #missingSince: Uint8Array | undefined;
  /** The latest state vector that the client sent while it was over its budget: answered when it has drained. */
  #unanswered: Uint8Array | undefined;
  #presenceMissed = false;
  /** Refused updates whose acks the client still waits for; a step 2 that answers `resume` brings them again. */
  #owed = 0;
  /** Why each step 1 that the client has yet to answer was sent. The client counts only the handshake's as a change. */
  readonly #asked: ("handshake" | "resume")[] = [];
  #ack: Uint8Array | undefined;
  #presenceAt = Number.NEGATIVE_INFINITY;
  #presenceTimer: NodeJS.Timeout | undefined;
  readonly #presencePending = new Map<number, PresenceEntry>();

  constructor(
    room: Room,
    link: Link,
    opened: { connection: Connection; identity: Identity; permission: Permission },
  ) {
    this.room = room;
    this.link = link;
    this.connection = opened.connection;
    this.identity = opened.identity;
    this.permission = opened.permission;
    this.address = opened.connection.messageAddress;
    this.prefix = addressPrefix(this.address);
    this.#origin = new MemberOrigin(this);
  }

  get #addressOnWire(): string | undefined {
    return this.link.door === "yjs" ? undefined : this.address;
  }

  get readOnly(): ReadOnlyReason | null {
    if (this.permission !== "write") return "role";
    if (this.room.ended) return "draining";
    return this.room.writable ? null : "store";
  }

  // --- inbound ---

  receive(data: Uint8Array, start: number): void {
    const message = readInbound(data, start);
    if (message === undefined) return this.link.refuse("bad_request", "malformed or unknown message");
    this.link.charge((message.type === "awareness" ? PRESENCE_COST : 1) + data.length / BYTES_PER_MESSAGE);
    this.#handle(message);
  }

  #handle(message: Inbound): void {
    switch (message.type) {
      case "update":
      case "step2":
        return this.#receiveUpdate(message.update, message.type);
      case "awareness":
        return this.#receivePresence(message.update);
      case "step1":
        return this.#receiveStateVector(message.stateVector);
      case "query-awareness":
        return this.#sendPresence();
      case "token":
        return this.room.renew(this, message.token);
      case "close":
        // At once, not when Hocuspocus is done: the same address may be opened again by the next message.
        this.room.leave(this);
        return this.connection.close({ code: 1000, reason: "provider_initiated" });
    }
  }

  #receiveStateVector(stateVector: Uint8Array): void {
    if (!this.link.hasRoom) {
      this.#unanswered = Uint8Array.from(stateVector);
      return;
    }
    const reply = this.room.diff(stateVector);
    if (reply === "malformed") return this.link.refuse("bad_request", "malformed state vector");
    if (reply === "retired") return this.reset();
    this.#synced = true;
    this.#missingSince = undefined;
    this.link.queue(frame(syncMessage(this.#addressOnWire, "step2", reply)));
    this.#ask("handshake");
    // A reader that asks many times in one chunk of bytes must not queue as many answers.
    if (reply.length > ANSWER_BYTES) this.link.flush();
  }

  #ask(why: "handshake" | "resume"): void {
    if (this.#asked.length >= this.room.limits.pendingMessages)
      return this.link.refuse("rate_limited", "too many questions without an answer");
    this.#asked.push(why);
    this.room.settle();
    const stateVector = Y.encodeStateVector(this.room.document);
    this.link.queue(frame(syncMessage(this.#addressOnWire, "step1", stateVector)));
  }

  #receiveUpdate(update: Uint8Array, kind: "step2" | "update"): void {
    if (!this.#synced) {
      if (kind === "step2") return this.link.refuse("bad_request", "an answer to nothing");
      // Only step 1 tells the lineage of the client's copy. What was typed before it comes again with the answer to our
      // own step 1, and the provider starts to count there: an acknowledgement now would be taken for that one's.
      return;
    }
    const resumed = kind === "step2" && this.#asked.shift() === "resume";
    const reason = this.readOnly;
    if (reason !== null) return this.settled(this.#refuseUpdate(update, { kind, reason, resumed }), resumed);
    if (kind === "update") return this.room.take(update, this.#origin);
    this.room.settle();
    for (const outcome of this.room.apply([update], this.#origin)) this.settled(outcome, resumed);
  }

  /** What became of one update. An answer to `resume` stands for all that were refused before. */
  settled(outcome: UpdateOutcome, resumed = false): void {
    if (outcome === "refused") return;
    if (outcome === "malformed") return this.link.refuse("bad_request", "malformed update");
    if (outcome === "full") return this.link.refuse("document_too_large", "");
    if (!resumed) return this.room.log.whenCommitted(outcome, this);
    for (; this.#owed > 0; this.#owed -= 1) this.room.log.whenCommitted(outcome, this);
  }

  /**
   * An update that may not be applied now. One without news is fine all the same: a step 2, or what a reader's provider
   * sends after loading its local copy.
   */
  #refuseUpdate(
    update: Uint8Array,
    refused: { kind: "step2" | "update"; reason: ReadOnlyReason; resumed: boolean },
  ): number | "refused" | "malformed" {
    if (refused.kind === "step2" || refused.reason === "role") {
      const known = this.room.contains(update);
      if (known === "malformed") return known;
      if (known) return this.room.lastPosition;
    }
    if (!refused.resumed) this.#owed += 1;
    if (refused.reason !== "role") return "refused";
    if (this.link.door === "collab") this.link.queueAck(frame(syncStatusMessage(this.address, false)));
    // A y-websocket client cannot be told: closing is the only honest answer to an edit that will not be kept.
    else this.link.refuse("forbidden", "read only");
    return "refused";
  }

  /** The log has committed one message of this member. */
  committed(): void {
    if (this.link.door === "yjs") return;
    this.#ack ??= frame(syncStatusMessage(this.address, true));
    this.link.queueAck(this.#ack);
  }

  // --- outbound ---

  /** A message from Hocuspocus. Broadcasts are subject to the byte budget; the rest is small and rare. */
  deliver(data: Uint8Array): void {
    const type = data[this.prefix.length];
    if (type === MESSAGE.sync && data[this.prefix.length + 1] === SYNC.update)
      return this.#deliverUpdate(data);
    if (type === MESSAGE.awareness) return this.#deliverPresence(data);
    if (this.link.door === "collab") this.link.queue(frame(data));
    else if (type === MESSAGE.close) this.link.end(1000, "closed");
  }

  #deliverUpdate(data: Uint8Array): void {
    const broadcast = this.room.updateBroadcast(data, this.prefix.length);
    if (!this.#synced || broadcast.soleAuthor === this || this.#missingSince !== undefined) return;
    if (this.link.hasRoom) this.link.queue(this.link.door === "yjs" ? broadcast.bare : broadcast.addressed);
    else this.#missingSince = broadcast.stateBefore();
  }

  #deliverPresence(data: Uint8Array): void {
    const broadcast = this.room.presenceBroadcast(data, this.prefix.length);
    if (broadcast.soleAuthor === this) return;
    if (this.link.hasRoom) this.link.queue(this.link.door === "yjs" ? broadcast.bare : broadcast.addressed);
    else this.#presenceMissed = true;
  }

  catchUp(): void {
    const stateVector = this.#unanswered;
    this.#unanswered = undefined;
    if (stateVector !== undefined) this.#receiveStateVector(stateVector);
    else if (this.#missingSince !== undefined) {
      this.room.settle();
      const diff = Y.encodeStateAsUpdate(this.room.document, this.#missingSince);
      this.#missingSince = undefined;
      this.room.countResync();
      this.link.queue(frame(syncMessage(this.#addressOnWire, "update", diff)));
    }
    if (this.#presenceMissed) this.#sendPresence();
  }

  #sendPresence(): void {
    this.#presenceMissed = !this.link.hasRoom;
    if (this.#presenceMissed) return;
    const awareness: Awareness = this.room.document.awareness;
    const update = encodeAwarenessUpdate(awareness, [...awareness.getStates().keys()]);
    this.link.queue(frame(awarenessMessage(this.#addressOnWire, update)));
  }

  /** Tells the client what it may do now. */
  announce(): void {
    if (this.link.door === "yjs") return;
    const { readOnly } = this;
    this.connection.readOnly = readOnly !== null;
    this.link.queue(frame(authenticatedMessage(this.address, readOnly !== null)));
    this.#notice(readOnly);
  }

  /** The first `announce`: Hocuspocus has sent "authenticated" itself. */
  greet(): void {
    if (this.link.door === "collab") this.#notice(this.readOnly);
  }

  #notice(readOnly: ReadOnlyReason | null): void {
    this.link.queue(frame(noticeMessage(this.address, { type: "state", epoch: this.room.epoch, readOnly })));
  }

  /** Writing is possible again: asks the client for what was refused meanwhile. */
  resume(): void {
    if (this.readOnly === null && this.#synced) this.#ask("resume");
  }

  /** The local copy of this client belongs to a lineage that was replaced. */
  reset(): void {
    if (this.link.door === "collab")
      this.link.queue(frame(noticeMessage(this.address, { type: "reset", epoch: this.room.epoch })));
    this.link.refuse("document_replaced", "");
  }

  askForToken(): void {
    this.connection.requestToken();
  }

  // --- presence ---

  #receivePresence(update: Uint8Array): void {
    const entries = readPresence(update);
    if (entries === undefined) return this.link.refuse("bad_request", "malformed presence");
    const limit = this.room.limits.awarenessBytes;
    if (entries.some((entry) => entry.state.length > limit))
      return this.link.refuse("payload_too_large", "presence");
    for (const entry of entries) this.#presencePending.set(entry.client, entry);
    this.#passPresence();
  }

  /** At most awarenessPerSecond; what comes faster is coalesced to the latest state of each client id. */
  #passPresence(): void {
    if (this.#presenceTimer !== undefined) return;
    const now = this.room.steady();
    const wait = this.#presenceAt + 1000 / this.room.limits.awarenessPerSecond - now;
    if (wait > 0) {
      this.#presenceTimer = setTimeout(() => {
        this.#presenceTimer = undefined;
        this.#passPresence();
      }, wait);
      return;
    }
    this.#presenceAt = now;
    for (const entry of this.#presencePending.values()) {
      const mine = this.room.presence.claim(entry, this);
      const state = mine ? signState(entry.state, this.identity) : undefined;
      if (state !== undefined) this.room.presence.take(this, { ...entry, state });
      // y-websocket clients send everybody's presence back as a matter of course; that is noise, not an attempt.
      else if (this.link.door === "collab") this.room.countRefused();
    }
    this.#presencePending.clear();
  }

  /** The document is closed for this client. */
  left(): void {
    clearTimeout(this.#presenceTimer);
    this.#presenceTimer = undefined;
    this.link.left(this);
  }
}
