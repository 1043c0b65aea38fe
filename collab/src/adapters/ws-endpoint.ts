import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { Socket } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import { FAILURES, parseDocumentName, type FailureCode } from "@scriptorium/shared";
import type { Collab, CollabDeps } from "../collab.ts";
import { createCollabCore, type CollabCore } from "../create-collab.ts";
import type { Link, Transport } from "../link.ts";

/** How long a closing handshake may take before the socket is cut. */
const CLOSE_MS = 2_000;
const COLLAB_PATH = "/collab";
const YJS_PREFIX = "/yjs/";

/** A ws socket as a Transport. Ready-made frames are written past ws, straight to the TCP socket under it. */
class WsTransport implements Transport {
  readonly #ws: WebSocket;
  readonly #socket: Socket;

  constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws;
    this.#socket = socket;
  }

  get open(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  write(frames: Uint8Array): boolean {
    return this.#socket.write(frames);
  }

  ping(): void {
    this.#ws.ping();
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason);
    // A client that stopped reading never sees the close frame, and one that stopped sending never answers it.
    setTimeout(() => this.#ws.terminate(), CLOSE_MS).unref();
  }
}

interface Target {
  readonly door: "collab" | "yjs";
  readonly document?: string;
  readonly token?: string;
}

/** Which door an upgrade asks for; undefined for a path that is not ours, a code for one that is but is wrong. */
function targetOf(url: string): Target | FailureCode | undefined {
  const parsed = URL.parse(`http://collab.invalid${url.startsWith("/") ? "" : "/"}${url}`);
  if (parsed === null) return undefined;
  const { pathname, searchParams } = parsed;
  if (pathname === COLLAB_PATH) return { door: "collab" };
  if (!pathname.startsWith(YJS_PREFIX)) return undefined;
  let document: string;
  try {
    document = decodeURIComponent(pathname.slice(YJS_PREFIX.length));
  } catch {
    // Only URIError: the path is not valid percent-encoding.
    return "not_found";
  }
  if (parseDocumentName(document) === undefined) return "not_found";
  const token = searchParams.get("token");
  return { door: "yjs", document, ...(token === null ? {} : { token }) };
}

function answer(socket: Duplex, code: FailureCode): void {
  const { http, title } = FAILURES[code];
  // HTTP sockets are half-open by default: a client that never closes its side would keep this one.
  socket.once("finish", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${http} ${title}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${code.length}\r\n\r\n${code}`,
  );
}

/** The collaboration server behind HTTP upgrades: `/collab` (Hocuspocus provider) and `/yjs/<name>` (y-websocket). */
export function createCollab(deps: CollabDeps): Collab {
  const core: CollabCore = createCollabCore(deps);
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: core.limits.messageBytes,
    perMessageDeflate: false,
    skipUTF8Validation: true,
  });

  function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    const target = targetOf(request.url ?? "/");
    if (target === undefined) return false;
    if (typeof target === "string") answer(socket, target);
    else if (!deps.allowOrigin(request.headers.origin, request.headers.host)) answer(socket, "forbidden");
    else if (!core.accepting()) answer(socket, "try_later");
    else if (socket instanceof Socket)
      server.handleUpgrade(request, socket, head, (ws) => accept(ws, socket, target));
    else answer(socket, "internal");
    return true;
  }

  function accept(ws: WebSocket, socket: Socket, target: Target): void {
    socket.setNoDelay(true);
    // Before the link exists: opening a document may already fail synchronously.
    ws.on("error", (error) => {
      // ws closes by itself with the right code (1009 too big, 1002 protocol); this only keeps it from throwing.
      deps.log.info({ code: "code" in error ? error.code : undefined }, "socket error");
    });
    const link: Link = core.connect(new WsTransport(ws, socket), target);
    ws.on("message", (data: Buffer, binary: boolean) => {
      if (!binary) return link.refuse("bad_request", "text message");
      try {
        link.receive(data);
      } catch (error) {
        // A bug of ours; thrown on, it would end the process and everybody's work with it.
        deps.log.error({ err: error }, "a message could not be handled");
        link.refuse("internal", "");
      }
    });
    ws.on("pong", () => link.seen());
    socket.on("drain", () => link.drained());
    ws.on("close", () => core.disconnect(link));
  }

  return { ...core, upgrade };
}
