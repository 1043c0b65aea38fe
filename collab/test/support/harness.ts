import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
import {
  createCollab,
  createCompactor,
  type Access,
  type ClusterDeps,
  type Collab,
  type CollabLimits,
  type DocumentStore,
  type Identity,
  type Permission,
} from "@scriptorium/collab";
import { memoryDocumentStore } from "@scriptorium/collab/testing";
import { Failure, formatDocumentName, newId, type DocumentName } from "@scriptorium/shared";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

/** A collaboration server on a real port, with people whose rights a test can change while they are connected. */
export interface Harness {
  readonly collab: Collab;
  readonly store: DocumentStore;
  readonly url: string;
  readonly people: People;
  readonly logged: LoggedLine[];
  readonly server: Server;
  /** Stops the collaboration server and starts another on the same store, people and port. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface LoggedLine {
  readonly level: "info" | "warn" | "error";
  readonly fields: object;
  readonly message: string;
}

/** Tokens are `<user>` or `<user>/<session>`; the rest is decided here. */
export class People implements Access {
  readonly permissions = new Map<string, Permission>();
  readonly expiresAt = new Map<string, number>();
  readonly revoked = new Set<string>();
  /** When set, every question to Access fails with it. */
  broken: Error | undefined;

  async identify(token: string): Promise<Identity> {
    if (this.broken !== undefined) throw this.broken;
    const [userId, sessionId = `${token}-session`] = token.split("/");
    if (userId === undefined || userId === "" || userId.startsWith("!")) throw new Failure("unauthenticated");
    if (this.revoked.has(sessionId)) throw new Failure("session_revoked");
    return {
      userId,
      sessionId,
      name: userId.toUpperCase(),
      color: "#336699",
      expiresAt: this.expiresAt.get(token) ?? Date.now() + 600_000,
    };
  }

  async permission(identity: Identity, document: DocumentName): Promise<Permission> {
    if (this.broken !== undefined) throw this.broken;
    return (
      this.permissions.get(`${identity.userId} ${formatDocumentName(document)}`) ??
      this.permissions.get(identity.userId) ??
      "write"
    );
  }

  async isLive(identity: Identity): Promise<boolean> {
    return !this.revoked.has(identity.sessionId);
  }
}

export interface HarnessOptions {
  readonly store?: DocumentStore;
  readonly limits?: Partial<CollabLimits>;
  readonly people?: People;
  readonly allowOrigin?: (origin: string | undefined) => boolean;
  readonly cluster?: ClusterDeps;
  readonly now?: () => number;
}

export async function startHarness(options: HarnessOptions = {}): Promise<Harness> {
  const store = options.store ?? memoryDocumentStore();
  const people = options.people ?? new People();
  const logged: LoggedLine[] = [];
  const line =
    (level: LoggedLine["level"]) =>
    (fields: object, message: string): void => {
      logged.push({ level, fields, message });
    };
  const start = (): Collab =>
    createCollab({
      store,
      access: people,
      compactor: createCompactor(),
      log: { info: line("info"), warn: line("warn"), error: line("error") },
      now: options.now ?? Date.now,
      ...(options.cluster && { cluster: options.cluster }),
      allowOrigin: options.allowOrigin ?? (() => true),
      limits: { ...options.limits },
    });
  let collab = start();
  const server = createServer((_request, response) => response.end());
  server.on("upgrade", (request, socket, head) => {
    if (!collab.upgrade(request, socket, head)) socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const { port } = address;
  return {
    get collab() {
      return collab;
    },
    store,
    people,
    logged,
    server,
    url: `ws://127.0.0.1:${port}`,
    async restart() {
      await collab.stop(1_000);
      collab = start();
    },
    async stop() {
      await collab.stop(2_000);
      server.close();
      server.closeAllConnections();
    },
  };
}

export function notesName(): string {
  return formatDocumentName({ kind: "notes", id: newId() });
}

/** The provider takes its listeners away before it closes a socket that is still connecting, which ws calls an error. */
class QuietWebSocket extends WebSocket {
  constructor(address: string) {
    super(address);
    this.on("error", () => undefined);
  }
}

/** A real @hocuspocus/provider on its own socket. */
export interface ProviderClient {
  readonly provider: HocuspocusProvider;
  readonly socket: HocuspocusProviderWebsocket;
  readonly doc: Y.Doc;
  readonly text: Y.Text;
  /** Close codes that the server gave, in order. */
  readonly closes: number[];
  readonly notices: unknown[];
  readonly denials: string[];
  destroy(): void;
}

export interface ClientOptions {
  readonly token?: string | (() => string) | (() => Promise<string>);
  readonly doc?: Y.Doc;
  /** First delay before a reconnect; the provider's own default is 1000 ms. */
  readonly reconnectMs?: number;
}

export function openProvider(url: string, name: string, options: ClientOptions = {}): ProviderClient {
  const doc = options.doc ?? new Y.Doc();
  const closes: number[] = [];
  const notices: unknown[] = [];
  const denials: string[] = [];
  const wait = options.reconnectMs ?? 50;
  const socket = new HocuspocusProviderWebsocket({
    url: `${url}/collab`,
    WebSocketPolyfill: QuietWebSocket,
    delay: wait,
    minDelay: wait,
    maxDelay: wait * 4,
    onClose: ({ event }) => closes.push(event.code),
  });
  const provider = new HocuspocusProvider({
    websocketProvider: socket,
    name,
    document: doc,
    token: options.token ?? "ada",
    onStateless: ({ payload }) => notices.push(JSON.parse(payload)),
    onAuthenticationFailed: ({ reason }) => denials.push(reason),
  });
  provider.attach();
  return {
    provider,
    socket,
    doc,
    text: doc.getText("md"),
    closes,
    notices,
    denials,
    destroy() {
      provider.destroy();
      socket.destroy();
    },
  };
}

/** A real y-websocket provider. */
export interface YjsClient {
  readonly provider: WebsocketProvider;
  readonly doc: Y.Doc;
  readonly text: Y.Text;
  readonly closes: number[];
  destroy(): void;
}

export function openYjs(url: string, name: string, options: ClientOptions = {}): YjsClient {
  const doc = options.doc ?? new Y.Doc();
  const closes: number[] = [];
  const token = typeof options.token === "string" ? options.token : "bo";
  const provider = new WebsocketProvider(`${url}/yjs`, name, doc, {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- ws has what y-websocket uses of the browser's
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    params: { token },
    disableBc: true,
    maxBackoffTime: 200,
  });
  provider.on("connection-close", (event: { code: number } | null) => {
    if (event !== null) closes.push(event.code);
  });
  return {
    provider,
    doc,
    text: doc.getText("md"),
    closes,
    destroy() {
      provider.destroy();
      // y-websocket leaves the timer of its awareness running.
      provider.awareness.destroy();
    },
  };
}

/** Waits until the condition holds; fails with the description after a bounded time. */
export async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await delay(5);
  }
}

/** Everything this client typed is acknowledged, and it has seen the server's state. */
export async function saved(client: ProviderClient): Promise<void> {
  await until(
    () => client.provider.isSynced && client.provider.unsyncedChanges === 0,
    "all changes acknowledged",
  );
}

/** What the store alone knows of a document: the collaboration server is not asked. */
export async function storedText(collab: Collab, name: string): Promise<string> {
  const doc = new Y.Doc();
  Y.applyUpdate(doc, await collab.read(name));
  return doc.getText("md").toJSON();
}
