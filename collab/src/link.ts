import type { Hocuspocus } from "@hocuspocus/server";
import { FAILURES, MESSAGE, isFailureCode, parseDocumentName, type FailureCode } from "@scriptorium/shared";
import { readDenial, readHeader, readInbound, type Header } from "./inbound.ts";
import type { CollabLimits } from "./limits.ts";
import type { Identity } from "./ports.ts";
import {
  EMPTY_AWARENESS_FRAME,
  PING_FRAME,
  authTokenMessage,
  frame,
  permissionDeniedMessage,
} from "./wire.ts";

/** The socket under a link: writes ready-made WebSocket frames and says how much of them has not left yet. */
export interface Transport {
  readonly open: boolean;
  /** Bytes accepted by `write` that the kernel has not taken yet. */
  readonly bufferedBytes: number;
  /** Whether the kernel and the socket's own buffer took it lightly; false is the time to look at `bufferedBytes`. */
  write(frames: Uint8Array): boolean;
  /** Protocol-level ping; the endpoint calls `seen` when the pong comes. */
  ping(): void;
  pause(): void;
  resume(): void;
  /** Closing handshake with a code; the transport ends by itself if the other side does not answer. */
  close(code: number, reason: string): void;
}

export type Door = "collab" | "yjs";

/** Hocuspocus' end of a socket; the package does not export the name. */
export type ClientConnection = ReturnType<Hocuspocus["handleConnection"]>;

/** One open document on a link, seen from the link. Implemented by member.ts. */
export interface OpenDocument {
  /** `name` or, for a provider with session awareness, `name\0session`. */
  readonly address: string;
  /** The encoded address that every message of the Hocuspocus dialect begins with. */
  readonly prefix: Uint8Array;
  /** Replaced when the client shows a newer token. */
  identity: Identity;
  /** A message from the client whose type begins at `start`. */
  receive(data: Uint8Array, start: number): void;
  /** A message from Hocuspocus, with its address. */
  deliver(data: Uint8Array): void;
  /** The link has room again after having been over its budget. */
  catchUp(): void;
  askForToken(): void;
}

/** What a link tells the room that owns it. */
export interface LinkOwner {
  readonly limits: CollabLimits;
  /** Unix ms: for the expiry of tokens alone. */
  now(): number;
  /** Milliseconds that never jump: for every duration. */
  steady(): number;
  /** A message came for a document that this link has not opened: authentication, or queued behind it. */
  refused(link: Link, code: FailureCode, detail: string): void;
  flushSoon(link: Link): void;
  flushWithTurn(link: Link): void;
}

interface Opening {
  readonly frames: Uint8Array[];
  /** What Hocuspocus said before the document was open; released, in order, once it is. */
  readonly held: Uint8Array[];
  /**
   * `asked`: the token is with Hocuspocus. `denied`: what the client goes on sending is dropped until it authenticates
   * again.
   */
  state: "waiting" | "asked" | "denied";
}

/**
 * One client socket, speaking one of the two dialects, with any number of documents on it (one for y-websocket). It is
 * the WebSocketLike that Hocuspocus sees, the outbox with its byte budget, and the inbound throttle. A class, because
 * there are thousands and every byte of them is counted (bench: idle KB per connection).
 */
export class Link {
  readonly door: Door;
  readonly members = new Map<string, OpenDocument>();
  /** Set right after construction; Hocuspocus needs the link to make it. */
  client: ClientConnection | undefined;
  identity: Identity | undefined;
  readonly openedAt: number;
  lastSeenAt: number;
  /** Since when the client has been over its byte budget, or undefined. */
  laggingSince: number | undefined;
  scheduled = false;
  readonly #owner: LinkOwner;
  readonly #transport: Transport;
  readonly #openings = new Map<string, Opening>();
  #outbox: Uint8Array[] = [];
  #tokens: number;
  #tokensAt: number;
  /** Since when the client has been too fast; it is read and paused in turns until it has been slow enough. */
  #throttledSince: number | undefined;
  #paused = false;
  #lastMember: OpenDocument | undefined;
  #pendingBytes = 0;
  #closed = false;
  #tokenAsked = false;
  /** A write found the socket's buffer filled, and it has not drained since. */
  #pressed = false;

  constructor(owner: LinkOwner, transport: Transport, door: Door) {
    this.#owner = owner;
    this.#transport = transport;
    this.door = door;
    this.openedAt = owner.steady();
    this.lastSeenAt = this.openedAt;
    this.#tokens = owner.limits.messageBurst;
    this.#tokensAt = this.openedAt;
  }

  // --- what Hocuspocus sees (WebSocketLike) ---

  get readyState(): number {
    return this.#transport.open && !this.#closed ? 1 : 3;
  }

  /** A frame from Hocuspocus, always with an address. */
  send(data: unknown): void {
    if (!(data instanceof Uint8Array)) return;
    const member = this.#memberOf(data);
    if (member === undefined) this.#beforeOpen(data);
    else member.deliver(data);
  }

  /** Hocuspocus closes: its own limits or a frame that it could not read (4205), or its time-out (4408). */
  close(code?: number, reason?: string): void {
    if (code === 4205) return this.end(FAILURES.bad_request.close, reason ?? "");
    if (code === 4408) return this.end(FAILURES.idle_timeout.close, reason ?? "");
    this.end(code ?? 1000, reason ?? "");
  }

  // --- inbound ---

  /** One binary message from the client. */
  receive(data: Uint8Array): void {
    if (this.#closed) return;
    this.seen();
    if (this.door === "yjs") this.#receiveYjs(data);
    else this.#receiveAddressed(data);
  }

  #receiveYjs(data: Uint8Array): void {
    const [member] = this.members.values();
    if (member !== undefined) return member.receive(data, 0);
    const [opening] = this.#openings.values();
    if (opening === undefined) return this.refuse("bad_request", "no document");
    this.#queue(opening, data);
  }

  #receiveAddressed(data: Uint8Array): void {
    if (data.length === 1 && data[0] === MESSAGE.pong) return;
    const last = this.#lastMember;
    if (last !== undefined && startsWith(data, last.prefix)) return last.receive(data, last.prefix.length);
    const header = readHeader(data);
    if (header === undefined) return this.refuse("bad_request", "malformed message");
    const member = this.members.get(header.address);
    if (member === undefined) return this.#receiveUnopened(data, header);
    this.#lastMember = member;
    member.receive(data, header.start);
  }

  #receiveUnopened(data: Uint8Array, header: Header): void {
    const { address, type } = header;
    let opening = this.#openings.get(address);
    if (type === MESSAGE.close) return this.#abandon(opening, data, address);
    if (opening === undefined) {
      if (this.members.size + this.#openings.size >= this.#owner.limits.documentsPerSocket)
        return this.refuse("too_many_documents", "");
      opening = { frames: [], held: [], state: "waiting" };
      this.#openings.set(address, opening);
    }
    // Only authentication reaches Hocuspocus; all else waits here until the document is open.
    if (type !== MESSAGE.auth) return this.#queue(opening, data);
    // Each costs a signature and questions to the store; what is queued is charged when it is read.
    this.charge(1);
    if (readInbound(data, header.start) === undefined) return this.refuse("bad_request", "malformed token");
    // Hocuspocus looks names up in plain objects, where "constructor" would be found: it gets to see ours alone.
    if (!isDocumentAddress(address)) return this.#beforeOpen(permissionDeniedMessage(address, "forbidden"));
    // Opened again before the first answer: that answer serves this opening, without the close in between.
    if (opening.state === "asked") return this.#forget(opening);
    opening.state = "asked";
    this.client?.handleMessage(data);
  }

  /** The client closes a document that is not open yet: of what it queued only the close is left. */
  #abandon(opening: Opening | undefined, close: Uint8Array, address: string): void {
    if (opening === undefined) return;
    this.#forget(opening);
    if (opening.state === "asked") this.#queue(opening, close);
    else this.#openings.delete(address);
  }

  #forget(opening: Opening): void {
    for (const queued of opening.frames.splice(0)) this.#pendingBytes -= queued.length;
  }

  /** Starts the y-websocket dialect: its token came with the upgrade, Hocuspocus wants it in a message. */
  openYjs(document: string, token: string): void {
    this.#openings.set(document, { frames: [], held: [], state: "asked" });
    this.client?.handleMessage(authTokenMessage(document, token));
  }

  #queue(opening: Opening, data: Uint8Array): void {
    if (opening.state === "denied") return;
    this.#pendingBytes += data.length;
    const { pendingBytes, pendingMessages } = this.#owner.limits;
    if (this.#pendingBytes > pendingBytes || opening.frames.length >= pendingMessages)
      return this.refuse("rate_limited", "too much before the document was open");
    // A copy: ws hands out views of its read buffer, which would be kept alive as a whole.
    opening.frames.push(Uint8Array.from(data));
  }

  // --- opening a document ---

  /** A document is open: what was held goes out, what was queued goes in. */
  opened(member: OpenDocument): void {
    const opening = this.#openings.get(member.address);
    this.#openings.delete(member.address);
    this.members.set(member.address, member);
    for (const data of opening?.held ?? []) member.deliver(data);
    for (const data of opening?.frames ?? []) {
      this.#pendingBytes -= data.length;
      if (!this.#closed) member.receive(data, this.door === "yjs" ? 0 : member.prefix.length);
    }
  }

  left(member: OpenDocument): void {
    if (this.members.get(member.address) === member) this.members.delete(member.address);
    if (this.#lastMember === member) this.#lastMember = undefined;
  }

  #beforeOpen(data: Uint8Array): void {
    const header = readHeader(data);
    if (header === undefined) return;
    const reason = readDenial(data, header);
    if (reason === undefined) {
      this.#openings.get(header.address)?.held.push(data);
      return;
    }
    const opening = this.#openings.get(header.address);
    if (opening !== undefined) this.#forget(opening);
    this.#openings.set(header.address, { frames: [], held: [], state: "denied" });
    this.#denied(data, reason);
  }

  /**
   * Hocuspocus reports every failure to open as "permission denied", which its provider takes as final. A transient one
   * closes the socket instead, so that the provider tries again; a real denial stays on its document.
   */
  #denied(data: Uint8Array, reason: string): void {
    const code = isFailureCode(reason) ? reason : "try_later";
    const { close } = FAILURES[code];
    const final = close >= 4400 && close < 4500;
    this.#owner.refused(this, code, "open");
    if (final && this.door === "collab") this.queue(frame(data));
    else this.end(close, code);
  }

  // --- outbound ---

  /** Queues a ready frame; it leaves at the end of this turn's work, together with whatever else is queued by then. */
  queue(bytes: Uint8Array): void {
    this.#outbox.push(bytes);
    if (!this.scheduled) this.#owner.flushSoon(this);
  }

  /** Like `queue`, but content to wait for this turn's broadcast. */
  queueAck(bytes: Uint8Array): void {
    this.#outbox.push(bytes);
    if (!this.scheduled) this.#owner.flushWithTurn(this);
  }

  /** Takes the queued frames; the owner joins and writes them. */
  takeOutbox(): Uint8Array[] {
    const taken = this.#outbox;
    this.#outbox = [];
    return taken;
  }

  /** Writes what is queued now, so that `hasRoom` knows of it. */
  flush(): void {
    for (const bytes of this.takeOutbox()) this.write(bytes);
  }

  write(bytes: Uint8Array): void {
    if (this.#transport.open && !this.#transport.write(bytes)) this.#pressed = true;
  }

  get bufferedBytes(): number {
    return this.#transport.bufferedBytes;
  }

  /** Whether document traffic may be sent now. The first refusal starts the stall clock. */
  get hasRoom(): boolean {
    if (!this.#pressed) return true;
    if (this.laggingSince !== undefined) return false;
    if (this.#transport.bufferedBytes <= this.#owner.limits.clientBufferBytes) return true;
    this.laggingSince = this.#owner.steady();
    return false;
  }

  /** The kernel took everything that was buffered. */
  drained(): void {
    this.#pressed = false;
    if (this.laggingSince === undefined || this.#closed) return;
    this.laggingSince = undefined;
    for (const member of this.members.values()) {
      // One diff may fill the budget again; the other documents then wait for the next drain.
      if (!this.hasRoom) return;
      member.catchUp();
      this.flush();
    }
  }

  // --- limits and endings ---

  /** The client gave a sign of life. */
  seen(): void {
    this.lastSeenAt = this.#owner.steady();
  }

  /** Token bucket: a client that is too fast is read more slowly, which loses nothing. */
  charge(cost: number): void {
    const { messagesPerSecond, messageBurst } = this.#owner.limits;
    const now = this.lastSeenAt;
    this.#tokens =
      Math.min(messageBurst, this.#tokens + ((now - this.#tokensAt) / 1000) * messagesPerSecond) - cost;
    this.#tokensAt = now;
    if (this.#tokens >= 0 || this.#paused) return;
    this.#throttledSince ??= now;
    this.#paused = true;
    this.#transport.pause();
  }

  /** Once a second or so: heartbeat, token expiry, stalled or silent clients, throttled readers. `now` is the steady one. */
  sweep(now: number, heartbeat: boolean): void {
    const { limits } = this.#owner;
    if (this.#closed) return;
    // It is told why, in case it wakes up; the transport cuts the connection soon after.
    if (this.#stalled(now)) return this.refuse("slow_consumer", "");
    if (this.identity === undefined) {
      if (now - this.openedAt > limits.authenticateMs) return this.#late();
    } else if (this.#expired(this.identity)) return this.refuse("token_expired", "");
    // A socket that we do not read ourselves cannot show that it lives.
    if (this.#throttledSince === undefined && now - this.lastSeenAt > limits.silenceMs)
      return this.refuse("idle_timeout", "");
    if (heartbeat) this.#beat();
    if (this.laggingSince !== undefined && this.bufferedBytes === 0) this.drained();
    this.#unthrottle(now);
  }

  /** `hasRoom` is asked here, too: answers and acknowledgements pile up like document traffic, and nobody asks before those. */
  #stalled(now: number): boolean {
    return !this.hasRoom && now - (this.laggingSince ?? now) > this.#owner.limits.stallMs;
  }

  /** No document was opened in time: the client's fault, unless it has shown a token and waits for our answer. */
  #late(): void {
    const waiting = [...this.#openings.values()].some((opening) => opening.state === "asked");
    this.refuse(waiting ? "try_later" : "unauthenticated", "no document opened in time");
  }

  /** The ping is for us, the message for the watchdogs of the client libraries, which do not see pings. */
  #beat(): void {
    if (!this.#transport.open) return;
    this.#transport.ping();
    this.write(this.door === "yjs" ? EMPTY_AWARENESS_FRAME : PING_FRAME);
  }

  /** Also asks the provider for a newer token before this one expires; y-websocket has no such message. */
  #expired({ expiresAt }: Identity): boolean {
    const leftMs = expiresAt - this.#owner.now();
    const [member] = this.members.values();
    if (leftMs > 0 && leftMs <= TOKEN_LEAD_MS && !this.#tokenAsked && this.door === "collab") {
      this.#tokenAsked = member !== undefined;
      member?.askForToken();
    }
    return leftMs <= 0;
  }

  /** A token was shown. One that ends before the token we know, as for another document, changes nothing. */
  renewed(identity: Identity): void {
    if (this.identity !== undefined && identity.expiresAt <= this.identity.expiresAt) return;
    this.identity = identity;
    this.#tokenAsked = false;
  }

  #unthrottle(now: number): void {
    if (this.#throttledSince === undefined) return;
    const { messagesPerSecond, messageBurst, floodMs } = this.#owner.limits;
    const tokens = this.#tokens + ((now - this.#tokensAt) / 1000) * messagesPerSecond;
    if (now - this.#throttledSince > floodMs) return this.refuse("rate_limited", "");
    // A client that fills the socket again at once is still flooding: the clock goes on until the bucket is half full.
    if (tokens >= messageBurst / 2) this.#throttledSince = undefined;
    if (tokens < 0 || !this.#paused) return;
    this.#paused = false;
    this.#transport.resume();
  }

  /** Ends the socket for a failure that its client caused, or that concerns it. */
  refuse(code: FailureCode, detail: string): void {
    if (this.#closed) return;
    this.#owner.refused(this, code, detail);
    this.end(FAILURES[code].close, code);
  }

  end(code: number, reason: string): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    this.#transport.close(code, reason);
  }

  /** The socket is gone. */
  closed(): void {
    this.#closed = true;
    this.#outbox = [];
    this.#openings.clear();
    this.client?.handleClose();
  }

  #memberOf(data: Uint8Array): OpenDocument | undefined {
    const last = this.#lastMember;
    if (last !== undefined && startsWith(data, last.prefix)) return last;
    for (const member of this.members.values()) if (startsWith(data, member.prefix)) return member;
    return undefined;
  }
}

const TOKEN_LEAD_MS = 60_000;

/** `name` or `name\0session`, with a name that is exactly a document's. */
function isDocumentAddress(address: string): boolean {
  const end = address.indexOf("\0");
  return parseDocumentName(end < 0 ? address : address.slice(0, end)) !== undefined;
}

function startsWith(data: Uint8Array, prefix: Uint8Array): boolean {
  if (data.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i += 1) if (data[i] !== prefix[i]) return false;
  return true;
}
