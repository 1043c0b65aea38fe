import { connect, type Socket } from "node:net";
import { randomBytes } from "node:crypto";
import { WebSocket } from "ws";
import { MESSAGE } from "@scriptorium/shared";
import { readHeader, readInbound } from "../../src/inbound.ts";
import { authTokenMessage, awarenessMessage, syncMessage } from "../../src/wire.ts";
import { until } from "./harness.ts";

/** A client without a library: it says exactly the bytes that a test wants said, and keeps those that came back. */
export interface RawClient {
  readonly ws: WebSocket;
  /** Every binary message, in order. */
  readonly messages: Uint8Array[];
  /** The close code, once there is one. */
  readonly closed: { code: number; reason: string } | undefined;
  send(...messages: readonly Uint8Array[]): void;
  destroy(): void;
}

/** Opens a socket and waits until it is open. */
export async function openSocket(address: string, headers: Record<string, string> = {}): Promise<RawClient> {
  const ws = new WebSocket(address, { headers });
  const messages: Uint8Array[] = [];
  let closed: { code: number; reason: string } | undefined;
  ws.on("message", (data: Buffer) => messages.push(Uint8Array.from(data)));
  ws.on("close", (code, reason) => {
    closed = { code, reason: reason.toString() };
  });
  // What a test wants to know of an error is the close code that follows it.
  ws.on("error", () => undefined);
  await until(() => ws.readyState !== WebSocket.CONNECTING, "the socket is open");
  return {
    ws,
    messages,
    get closed() {
      return closed;
    },
    send(...frames) {
      for (const frame of frames) ws.send(frame);
    },
    destroy() {
      ws.terminate();
    },
  };
}

/** A raw socket on which a document of the Hocuspocus dialect is open and synced. */
export async function openRawCollab(url: string, name: string, token = "mallory"): Promise<RawClient> {
  const client = await openSocket(`${url}/collab`);
  client.send(authTokenMessage(name, token), step1(name));
  await until(() => client.closed !== undefined || syncs(client, name).length >= 2, "the document is open");
  return client;
}

/** A raw socket of the y-websocket dialect whose document is open and synced. */
export async function openRawYjs(url: string, name: string, token = "mallory"): Promise<RawClient> {
  const client = await openSocket(`${url}/yjs/${encodeURIComponent(name)}?token=${token}`);
  client.send(step1(undefined));
  await until(
    () => client.closed !== undefined || syncs(client, undefined).length >= 2,
    "the document is open",
  );
  return client;
}

/** Sync step 1 of an empty document. */
export function step1(address: string | undefined): Uint8Array {
  return syncMessage(address, "step1", Uint8Array.of(0));
}

export function update(address: string | undefined, body: Uint8Array): Uint8Array {
  return syncMessage(address, "update", body);
}

export function awareness(address: string | undefined, body: Uint8Array): Uint8Array {
  return awarenessMessage(address, body);
}

export interface SyncFrame {
  readonly kind: "step1" | "step2" | "update";
  readonly body: Uint8Array;
}

/** The sync messages that came for an address, with what they carry. */
export function syncs(client: Pick<RawClient, "messages">, address: string | undefined): SyncFrame[] {
  return client.messages.flatMap((data): SyncFrame[] => {
    const start = address === undefined ? 0 : startOf(data, address);
    const inbound = start === undefined ? undefined : readInbound(data, start);
    if (inbound === undefined) return [];
    if (inbound.type === "step1") return [{ kind: inbound.type, body: inbound.stateVector }];
    if (inbound.type === "step2" || inbound.type === "update")
      return [{ kind: inbound.type, body: inbound.update }];
    return [];
  });
}

function startOf(data: Uint8Array, address: string): number | undefined {
  const header = readHeader(data);
  return header?.address === address ? header.start : undefined;
}

/** SyncStatus messages that came for an address: true for saved, false for refused. */
export function statuses(client: RawClient, address: string): boolean[] {
  return client.messages.flatMap((data) => {
    const header = readHeader(data);
    if (header?.address !== address || header.type !== MESSAGE.syncStatus) return [];
    return [data.at(-1) === 1];
  });
}

/** A TCP socket that completes the WebSocket handshake and can stop reading: nothing acknowledges on its behalf. */
export interface TcpReader {
  readonly socket: Socket;
  /** Bytes read so far, handshake included. */
  readonly received: number;
  /** Complete binary messages read so far. */
  readonly messages: Uint8Array[];
  readonly closeCode: number | undefined;
  readonly ended: boolean;
  send(message: Uint8Array): void;
  stop(): void;
  read(): void;
  destroy(): void;
}

export async function openTcp(url: string, path: string): Promise<TcpReader> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  const parser = new FrameParser();
  let received = 0;
  let ended = false;
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
    parser.push(chunk);
  });
  socket.on("close", () => {
    ended = true;
  });
  // A cut connection is one of the outcomes that tests wait for.
  socket.on("error", () => undefined);
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`,
  );
  await until(() => parser.upgraded || ended, "the handshake is complete");
  return {
    socket,
    get received() {
      return received;
    },
    messages: parser.messages,
    get closeCode() {
      return parser.closeCode;
    },
    get ended() {
      return ended;
    },
    send: (message) => void socket.write(maskedFrame(message)),
    stop: () => void socket.pause(),
    read: () => void socket.resume(),
    destroy: () => void socket.destroy(),
  };
}

const OPCODE_BINARY = 2;
const OPCODE_CLOSE = 8;

/** Splits what a server sends after the handshake into messages. */
class FrameParser {
  readonly messages: Uint8Array[] = [];
  upgraded = false;
  closeCode: number | undefined;
  #chunks: Buffer[] = [];
  #length = 0;
  #needed = 0;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#needed) return;
    let data: Buffer = Buffer.concat(this.#chunks, this.#length);
    if (!this.upgraded) {
      const end = data.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.upgraded = data.subarray(0, 12).toString() === "HTTP/1.1 101";
        data = data.subarray(end + 4);
      }
    }
    if (this.upgraded) data = this.#frames(data);
    this.#chunks = data.length > 0 ? [data] : [];
    this.#length = data.length;
  }

  /** Takes whole frames off the front and returns the rest. */
  #frames(given: Buffer): Buffer {
    let data = given;
    for (;;) {
      const header = headerOf(data);
      this.#needed = header === undefined ? 2 : header.start + header.length;
      if (header === undefined || data.length < this.#needed) return data;
      const payload = Uint8Array.from(data.subarray(header.start, this.#needed));
      if (header.opcode === OPCODE_BINARY) this.messages.push(payload);
      if (header.opcode === OPCODE_CLOSE) this.closeCode = Buffer.from(payload).readUInt16BE(0);
      data = data.subarray(this.#needed);
    }
  }
}

function headerOf(data: Buffer): { opcode: number; start: number; length: number } | undefined {
  const [first, second] = data;
  if (first === undefined || second === undefined) return undefined;
  const opcode = first & 0x0f;
  if (second < 126) return { opcode, start: 2, length: second };
  if (second === 126) return data.length < 4 ? undefined : { opcode, start: 4, length: data.readUInt16BE(2) };
  return data.length < 10 ? undefined : { opcode, start: 10, length: Number(data.readBigUInt64BE(2)) };
}

/** One binary frame from a client: masked with zeros, so that the payload stays readable. */
function maskedFrame(payload: Uint8Array): Buffer {
  const header = Buffer.alloc(14);
  header[0] = 0x82;
  header[1] = 0x80 | 127;
  header.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([header, payload]);
}
