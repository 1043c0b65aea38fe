import { MESSAGE, SYNC } from "@scriptorium/shared";
import { openSocket } from "../wire/socket.ts";
import type { Address, ClientSocket } from "../wire/socket.ts";
import { createWire } from "../wire/protocol.ts";
import type { ProtocolName, Wire } from "../wire/protocol.ts";

/** Where and as whom to open one document. */
export interface Door extends Address {
  readonly protocol: ProtocolName;
  readonly path: string;
  readonly document: string;
  readonly token: string;
}

export interface MemberEvents {
  /** A message that carries document content; the payload is a view. */
  readonly onUpdate: (message: Buffer) => void;
  readonly onAwareness?: (message: Buffer) => void;
  readonly onAck?: (applied: boolean) => void;
}

/** One client of one document, synced. */
export interface Member {
  readonly wire: Wire;
  readonly socket: ClientSocket;
  /** Why the connection ended; undefined while it is open. */
  closedBecause(): string | undefined;
}

const PONG = Uint8Array.of(MESSAGE.pong);
const HANDSHAKE_MS = 30_000;

/**
 * Opens a document the way the provider does: token and SyncStep1 at once, an answer to the server's SyncStep1.
 * Resolves when the server has sent its SyncStep2 and, where the protocol has acks, acked ours.
 */
export async function openMember(door: Door, events: MemberEvents): Promise<Member> {
  const wire = createWire(door.protocol, door.document);
  const typeAt = door.protocol === "hocuspocus" ? 1 + Buffer.byteLength(door.document) : 0;
  const ready = Promise.withResolvers<undefined>();
  let waiting = { step2: true, ack: wire.acks };
  let answered = false;
  let closed: string | undefined;
  let socket: ClientSocket | undefined;
  /** Messages that came in the same read as the upgrade, before the socket was in our hands. */
  const early: Buffer[] = [];

  function progress(step: Partial<typeof waiting>): void {
    waiting = { ...waiting, ...step };
    if (!waiting.step2 && !waiting.ack) ready.resolve(undefined);
  }

  function control(payload: Buffer, open: ClientSocket): void {
    const message = wire.read(payload);
    if (message.type === "refused") {
      closed = message.reason;
      ready.reject(new Error(`${door.document} refused: ${message.reason}`));
    } else if (message.type === "step1" && !answered) {
      answered = true;
      open.send(wire.emptyStep2());
    }
  }

  function ack(payload: Buffer): void {
    const applied = payload[typeAt + 1] === 1;
    if (waiting.ack) progress({ ack: false });
    else events.onAck?.(applied);
  }

  function sync(payload: Buffer, open: ClientSocket): void {
    const kind = payload[typeAt + 1];
    if (kind === SYNC.step1) {
      control(payload, open);
      return;
    }
    events.onUpdate(payload);
    if (kind === SYNC.step2) progress({ step2: false });
  }

  /** The connection's own message, without an address; the provider answers it like this. */
  function heartbeat(payload: Buffer, open: ClientSocket): void {
    if (payload[0] === MESSAGE.ping) open.send(PONG);
  }

  function receive(payload: Buffer): void {
    if (socket === undefined) {
      early.push(Buffer.from(payload));
      return;
    }
    if (wire.acks && payload.length === 1) {
      heartbeat(payload, socket);
      return;
    }
    const type = payload[typeAt];
    if (type === MESSAGE.sync || type === MESSAGE.syncReply) sync(payload, socket);
    else if (type === MESSAGE.syncStatus && wire.acks) ack(payload);
    else if (type === MESSAGE.awareness) events.onAwareness?.(payload);
    else control(payload, socket);
  }

  const deadline = setTimeout(() => {
    ready.reject(new Error(`${door.document}: no sync within ${HANDSHAKE_MS} ms`));
  }, HANDSHAKE_MS);
  try {
    socket = await openSocket(door, door.path, {
      onMessage: receive,
      onClose: (reason) => {
        closed ??= reason;
        ready.reject(new Error(`${door.document}: ${reason}`));
      },
    });
    for (const hello of wire.hello(door.token)) socket.send(hello);
    for (const payload of early) receive(payload);
    await ready.promise;
    return { wire, socket, closedBecause: () => closed };
  } catch (error) {
    socket?.close();
    throw error;
  } finally {
    clearTimeout(deadline);
  }
}
