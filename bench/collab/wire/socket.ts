import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { OPCODE, clientFrame, createFrameReader } from "./frame.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ClientSocket {
  /** Sends one binary message. */
  send(payload: Uint8Array): void;
  /** From now on nothing is taken from the kernel; the connection stays open. */
  stopReading(): void;
  close(): void;
  bytesIn(): number;
  bytesOut(): number;
}

export interface SocketEvents {
  readonly onMessage: (payload: Buffer) => void;
  /** Once, also when the server closes or refuses; says why. */
  readonly onClose: (reason: string) => void;
}

const HEAD_END = "\r\n\r\n";
/** One read buffer for all sockets: a chunk is used up before the next read begins. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

function upgradeRequest(address: Address, path: string): string {
  const key = randomBytes(16).toString("base64");
  return [
    `GET ${path} HTTP/1.1`,
    `Host: ${address.host}:${address.port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${key}`,
    HEAD_END,
  ]
    .join("\r\n")
    .slice(0, -2);
}

/** A WebSocket client on a bare TCP socket. Resolves when the server has switched protocols. */
export function openSocket(address: Address, path: string, events: SocketEvents): Promise<ClientSocket> {
  return new Promise((resolve, reject) => {
    let bytesIn = 0;
    let bytesOut = 0;
    let head: string | undefined = "";
    let reason = "the connection ended";

    const read = createFrameReader((opcode, payload) => {
      if (opcode === OPCODE.binary) events.onMessage(payload);
      else if (opcode === OPCODE.ping) write(clientFrame(OPCODE.pong, payload));
      else if (opcode === OPCODE.close) {
        const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
        reason = `closed ${code} ${payload.subarray(2).toString("utf8")}`;
        socket.end();
      }
    });

    function readHead(chunk: Buffer): void {
      head = (head ?? "") + chunk.toString("latin1");
      const end = head.indexOf(HEAD_END);
      if (end < 0) return;
      const status = head.slice(0, head.indexOf("\r\n"));
      const more = Buffer.from(head.slice(end + HEAD_END.length), "latin1");
      head = undefined;
      if (!status.includes(" 101")) {
        reason = `upgrade refused: ${status}`;
        socket.destroy();
        return;
      }
      resolve(client);
      if (more.length > 0) read(more);
    }

    const socket = connect({
      host: address.host,
      port: address.port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (size) => {
          bytesIn += size;
          const chunk = readBuffer.subarray(0, size);
          if (head === undefined) read(chunk);
          else readHead(chunk);
          return true;
        },
      },
    });

    function write(frame: Buffer): void {
      if (!socket.writable) return;
      bytesOut += frame.length;
      socket.write(frame);
    }

    const client: ClientSocket = {
      send: (payload) => write(clientFrame(OPCODE.binary, payload)),
      stopReading: () => {
        socket.pause();
      },
      close: () => {
        socket.destroy();
      },
      bytesIn: () => bytesIn,
      bytesOut: () => bytesOut,
    };

    socket.on("connect", () => socket.write(upgradeRequest(address, path)));
    socket.on("error", (error) => {
      reason = error.message;
    });
    socket.on("close", () => {
      reject(new Error(reason));
      events.onClose(reason);
    });
  });
}
