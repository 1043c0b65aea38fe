import { once } from "node:events";
import { get } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { FAILURES, type Problem } from "@scriptorium/shared";

/**
 * A small balancer on 127.0.0.1, for `npm run cluster` and for drills; production has a real one.
 *
 * It balances connections, not requests: a connection is spliced to one node, byte for byte, and nothing in it is read.
 * So nothing that a client or a node sees can be the balancer's doing, whatever they speak, and there is no parser and no
 * pool whose faults a drill would have to tell from ours. The price: a kept-alive connection stays with its node until one
 * of the two ends it, which a node does when it drains. Nodes see every client as 127.0.0.1; there is no X-Forwarded-For.
 */
export interface Balancer {
  readonly url: string;
  /** `ws://…`, without a path. */
  readonly wsUrl: string;
  readonly nodes: readonly BalancedNode[];
  /** Towards clients and nodes together. */
  readonly openSockets: number;
  /**
   * New connections go to these from now on, by their addresses (`http://127.0.0.1:…`); what is open stays where it is.
   * Resolves when each was asked once whether it is ready.
   */
  set(urls: readonly string[]): Promise<void>;
  /** Cuts every connection. */
  stop(): Promise<void>;
}

export interface BalancedNode {
  readonly url: string;
  /** It answered /readyz with 200 when it was asked last, and has refused nothing since. */
  readonly ready: boolean;
  readonly connections: number;
}

export interface BalancerOptions {
  /** By default any free one. */
  readonly port?: number;
  readonly pollMs?: number;
  readonly lingerMs?: number;
}

const HOST = "127.0.0.1";
const POLL_MS = 250;
/** A node that takes longer to say that it is ready is not; a loaded machine stalls for a second now and then. */
const READY_MS = 2_000;
/** On loopback a connection is there at once, unless the node is stopped and its backlog is full. */
const CONNECT_MS = 2_000;
/** After one side has gone: for what the other has still to read, and for a refused client to say what it wants. */
const LINGER_MS = 5_000;
/** Each costs two file descriptors; as many as one node takes sockets by default. */
const MAX_CONNECTIONS = 20_000;

interface Node {
  readonly url: string;
  readonly port: number;
  ready: boolean;
  connections: number;
  /** Settles with the first answer. */
  readonly asked: Promise<void>;
  forget(): void;
}

export async function startBalancer(options: BalancerOptions = {}): Promise<Balancer> {
  const { port = 0, pollMs = POLL_MS, lingerMs = LINGER_MS } = options;
  const open = new Set<Socket>();
  let nodes: readonly Node[] = [];
  let turn = 0;

  /** The ready one with the fewest connections, so that a node that comes back is filled first; in turn among equals. */
  const pick = (tried: ReadonlySet<Node>): Node | undefined => {
    const inTurn = [...nodes.slice(turn % nodes.length), ...nodes.slice(0, turn % nodes.length)];
    turn += 1;
    return inTurn
      .filter((node) => node.ready && !tried.has(node))
      .reduce<Node | undefined>(
        (best, node) => (best === undefined || node.connections < best.connections ? node : best),
        undefined,
      );
  };
  const track = (socket: Socket): Socket => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    // The close that follows is all that matters.
    socket.on("error", () => undefined);
    return socket;
  };
  const serve = async (client: Socket): Promise<void> => {
    const tried = new Set<Node>();
    for (let node = pick(tried); node !== undefined; node = pick(tried)) {
      tried.add(node);
      node.connections += 1;
      const upstream = track(connect({ host: HOST, port: node.port, allowHalfOpen: true, noDelay: true }));
      upstream.once("close", () => (node.connections -= 1));
      if (await connected(upstream)) return splice({ client, upstream, lingerMs });
      node.ready = false;
    }
    refuse(client, lingerMs);
  };

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    void serve(track(client));
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(port, HOST);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the balancer has no TCP address");
  return {
    url: `http://${HOST}:${address.port}`,
    wsUrl: `ws://${HOST}:${address.port}`,
    get nodes() {
      return nodes.map(({ url, ready, connections }) => ({ url, ready, connections }));
    },
    get openSockets() {
      return open.size;
    },
    async set(urls) {
      const kept = new Map(nodes.map((node) => [node.url, node]));
      for (const [url, node] of kept) if (!urls.includes(url)) node.forget();
      nodes = [...new Set(urls)].map((url) => kept.get(url) ?? watch(url, pollMs));
      await Promise.all(nodes.map(({ asked }) => asked));
    },
    async stop() {
      for (const node of nodes) node.forget();
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, "close");
    },
  };
}

/** Asks the node again and again whether it is ready, each time over a new connection, as a client would come. */
function watch(url: string, pollMs: number): Node {
  let timer: NodeJS.Timeout | undefined;
  let forgotten = false;
  const first = Promise.withResolvers<void>();
  const node: Node = {
    url,
    port: Number(new URL(url).port),
    ready: false,
    connections: 0,
    asked: first.promise,
    forget: () => {
      forgotten = true;
      clearTimeout(timer);
      first.resolve();
    },
  };
  const ask = async (): Promise<void> => {
    const ready = await isReady(url);
    if (forgotten) return;
    node.ready = ready;
    first.resolve();
    timer = setTimeout(() => void ask(), pollMs);
  };
  void ask();
  return node;
}

async function isReady(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(`${url}/readyz`, { agent: false, signal: AbortSignal.timeout(READY_MS) });
    request.on("response", (response) => {
      response.on("error", () => resolve(false));
      response.resume().on("end", () => resolve(response.statusCode === 200));
    });
    request.on("error", () => resolve(false));
  });
}

/** Whether the connection was made. */
async function connected(upstream: Socket): Promise<boolean> {
  const timer = setTimeout(() => upstream.destroy(), CONNECT_MS);
  return new Promise<boolean>((resolve) => {
    upstream.once("connect", () => resolve(true)).once("close", () => resolve(false));
  }).finally(() => clearTimeout(timer));
}

interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
  readonly lingerMs: number;
}

/** Passes bytes on in both directions, each with its own end, no faster than the slower side takes them. */
function splice({ client, upstream, lingerMs }: Pair): void {
  client.pipe(upstream).pipe(client);
  client.once("close", () => leave(upstream, lingerMs));
  upstream.once("close", () => leave(client, lingerMs));
  // It had gone while its node was looked for.
  if (client.destroyed) upstream.destroy();
}

/** The other side has gone. What it has sent is still delivered: an acknowledgement that has left the node counts. */
function leave(socket: Socket, lingerMs: number): void {
  closeWithin(socket, lingerMs);
  socket.destroySoon();
}

/** The only words of its own. Not before the client has asked, since an answer to nothing is a fault of the protocol. */
function refuse(client: Socket, lingerMs: number): void {
  closeWithin(client, lingerMs);
  client.once("data", () => client.end(NOBODY_READY));
  client.once("end", () => client.end());
}

function closeWithin(socket: Socket, ms: number): void {
  const timer = setTimeout(() => socket.destroy(), ms);
  socket.once("close", () => clearTimeout(timer));
}

const NOBODY_READY = ((): string => {
  const problem: Problem = {
    type: "urn:scriptorium:problem:try_later",
    title: FAILURES.try_later.title,
    status: FAILURES.try_later.http,
    code: "try_later",
    detail: "No node is ready",
  };
  const body = JSON.stringify(problem);
  const head = [
    "HTTP/1.1 503 Service Unavailable",
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
    "retry-after: 1",
    "connection: close",
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
})();
