import { setTimeout as delay } from "node:timers/promises";
import { startBalancer, type Balancer } from "./balancer.ts";
import { createClient, type Client } from "./client.ts";
import { createLifetime, type Lifetime } from "./lifetime.ts";
import { newDatabase, startMongo } from "./mongo.ts";
import { startRedis } from "./redis.ts";
import { spawnServer, type ServerProcess } from "./server-process.ts";

/**
 * Several nodes in processes of their own behind one address, on a real Redis and MongoDB-protocol server: what
 * `npm run cluster` starts for people, and drills for themselves. Everything is on 127.0.0.1.
 */
export interface Cluster extends Client {
  /** Of the balancer: `ws://…`, without a path. */
  readonly wsUrl: string;
  readonly balancer: Balancer;
  readonly nodes: readonly ClusterNode[];
  readonly mongo: Service;
  readonly redis: Service;
  /** What every node is started with: for one more on the same store. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends everything that was started, in reverse order. */
  stop(): Promise<void>;
}

/** A place in the cluster: the process that runs there now, or ran there last. */
export interface ClusterNode extends Client {
  readonly wsUrl: string;
  readonly pid: number;
  readonly running: boolean;
  /** Resolves when the process has ended; clients of the balancer are moved by then, or a moment later. */
  kill(signal: NodeJS.Signals): Exited;
  /** Of the process that runs now. */
  readonly exited: Exited;
  /** What it wrote to stderr, the last 64 KiB. */
  logs(): string;
  /** Another process at another port, after SIGTERM to one that runs. Resolves when the balancer gives it connections. */
  restart(): Promise<void>;
}

type Exited = ServerProcess["exited"];

/** What the nodes stand on. The verbs throw for one that was given by its address: it is not ours. */
export interface Service {
  /** Undefined for a Redis that is not there. */
  readonly url: string | undefined;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again at the same address; MongoDB over the same data, Redis empty. */
  restart(): Promise<void>;
  /** SIGSTOP and SIGCONT: one that is there and says nothing. */
  pause(): void;
  resume(): void;
}

export interface ClusterOptions {
  /** How many; three by default. */
  readonly nodes?: number;
  /** On top of what a node of a cluster needs. */
  readonly env?: Readonly<Record<string, string>>;
  /** Of the balancer; any free one by default. */
  readonly port?: number;
  /** Its own by default. */
  readonly redis?: "own" | "none" | { readonly url: string };
  /**
   * One that runs, with the database in its address. By default one of our own (MONGO_SERVER), or where that is not
   * set, a new database at MONGODB_URL that is dropped at the end.
   */
  readonly mongo?: { readonly url: string };
}

const NODES = 3;
/** More than a drain (DRAIN_MS) takes on a loaded machine; after that a node is killed. */
const STOP_MS = 30_000;
const READY_MS = 30_000;
const READY_POLL_MS = 20;

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const lifetime = createLifetime();
  try {
    return await start(options, lifetime);
  } catch (error) {
    await Promise.allSettled([lifetime.end()]);
    throw error;
  }
}

async function start(options: ClusterOptions, lifetime: Lifetime): Promise<Cluster> {
  // First, so that an address in use is known at once; and so it ends last, and clients hear from their nodes why.
  const balancer = await lifetime.start(
    () => startBalancer(options.port === undefined ? {} : { port: options.port }),
    (started) => ({ end: () => started.stop(), endNow: () => undefined }),
  );
  const mongo = await openMongo(options.mongo, lifetime);
  const redis = await openRedis(options.redis, lifetime);
  const bus = redis.url === undefined ? {} : { REDIS_URL: redis.url };
  const env = { ...options.env, MONGODB_URL: mongo.url, ...bus };
  const fleet = await lifetime.start(
    async () => createFleet(env),
    (started) => started,
  );
  let nodes: readonly ClusterNode[] = [];
  const announce = () => balancer.set(nodes.filter(({ running }) => running).map(({ url }) => url));
  const places = Array.from({ length: options.nodes ?? NODES }, () =>
    openNode(fleet, { balancer, announce }),
  );
  nodes = await Promise.all(places);
  await announce();
  for (const { url } of nodes) await used(balancer, url);
  return {
    ...createClient(balancer.url),
    wsUrl: balancer.wsUrl,
    balancer,
    nodes,
    mongo,
    redis,
    env,
    stop: () => lifetime.end(),
  };
}

async function openMongo(
  given: ClusterOptions["mongo"],
  lifetime: Lifetime,
): Promise<Service & { readonly url: string }> {
  const { MONGO_SERVER, MONGODB_URL } = process.env;
  if (given !== undefined) return notOurs("MongoDB", given.url);
  if (MONGO_SERVER === undefined && MONGODB_URL !== undefined) {
    const { url } = await lifetime.start(
      async () => newDatabase(MONGODB_URL),
      ({ drop }) => ({ end: drop, endNow: () => undefined }),
    );
    return notOurs("MongoDB", url);
  }
  const server = await lifetime.start(startMongo, (started) => ({
    end: () => started.stop(),
    endNow: () => void started.stop(),
  }));
  return { ...server, url: `${server.url}scriptorium` };
}

async function openRedis(given: ClusterOptions["redis"] = "own", lifetime: Lifetime): Promise<Service> {
  if (given === "none") return notOurs("Redis", undefined);
  if (given !== "own") return notOurs("Redis", given.url);
  return lifetime.start(startRedis, (started) => ({
    end: () => started.stop(),
    endNow: () => void started.stop(),
  }));
}

function notOurs<Url extends string | undefined>(name: string, url: Url): Service & { readonly url: Url } {
  const refuse = (): never => {
    throw new Error(url === undefined ? `there is no ${name}` : `this ${name} was not started here`);
  };
  return { url, kill: async () => refuse(), restart: async () => refuse(), pause: refuse, resume: refuse };
}

interface Fleet {
  spawn(): Promise<ServerProcess>;
  end(): Promise<void>;
  endNow(): void;
}

/** Every node process that was started; they end together, since each takes its time to drain. */
function createFleet(env: Readonly<Record<string, string>>): Fleet {
  const spawning = new Set<Promise<ServerProcess>>();
  const processes = new Set<ServerProcess>();
  let ending = false;
  return {
    async spawn() {
      if (ending) throw new Error("the end has begun");
      const spawned = spawnServer({ env });
      spawning.add(spawned);
      const server = await spawned.finally(() => spawning.delete(spawned));
      processes.add(server);
      return server;
    },
    async end() {
      ending = true;
      await Promise.allSettled(spawning);
      await Promise.all(Array.from(processes, drain));
    },
    endNow: () => processes.forEach((server) => void server.kill("SIGKILL")),
  };
}

async function drain(server: ServerProcess): Promise<void> {
  const timer = new AbortController();
  const late = delay(STOP_MS, "late", { signal: timer.signal }).catch(() => "ended");
  const first = await Promise.race([server.kill("SIGTERM"), late]);
  timer.abort();
  if (first === "late") await server.kill("SIGKILL");
}

interface Door {
  readonly balancer: Balancer;
  /** Tells the balancer which nodes there are. */
  announce(): Promise<void>;
}

async function openNode(fleet: Fleet, door: Door): Promise<ClusterNode> {
  const ended = new WeakSet<ServerProcess>();
  const spawn = async (): Promise<ServerProcess> => {
    const started = await fleet.spawn();
    const onEnd = (): void => {
      ended.add(started);
      // Its port may soon be somebody else's.
      void door.announce();
    };
    started.exited.then(onEnd, onEnd);
    return started;
  };
  let server = await spawn();
  return {
    get url() {
      return server.url;
    },
    get wsUrl() {
      return server.wsUrl;
    },
    get pid() {
      return server.pid;
    },
    get running() {
      return !ended.has(server);
    },
    get exited() {
      return server.exited;
    },
    register: (username) => server.register(username),
    login: (username, password) => server.login(username, password),
    kill: (signal) => server.kill(signal),
    logs: () => server.logs(),
    async restart() {
      if (!ended.has(server)) await drain(server);
      server = await spawn();
      await door.announce();
      await used(door.balancer, server.url);
    },
  };
}

/** Until the balancer gives this node connections; a node says that it listens before it says that it is ready. */
async function used(balancer: Balancer, url: string): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (balancer.nodes.find((node) => node.url === url)?.ready !== true) {
    if (performance.now() > deadline) throw new Error(`${url} listens and does not become ready`);
    await delay(READY_POLL_MS);
  }
}
