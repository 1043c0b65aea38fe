import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { compose, type App, type ComposeDeps } from "./compose.ts";
import { readConfig, type Config } from "./config.ts";
import { openMemory } from "./storage/adapters/memory/open.ts";
import { openSqlite } from "./storage/adapters/sqlite/open.ts";
import type { Store } from "./storage/store.ts";
import { createClient, type Client } from "./testing/client.ts";
import { dataDir } from "./testing/data-dir.ts";

/** Servers for the tests and benchmarks of every room: in this process, or as a child that can be killed. */

export { createClient, RestError } from "./testing/client.ts";
export type { Client, Person } from "./testing/client.ts";
export { startCluster } from "./testing/cluster.ts";
export type { Cluster, ClusterNode, ClusterOptions } from "./testing/cluster.ts";
export { spawnServer } from "./testing/server-process.ts";
export type { ServerProcess } from "./testing/server-process.ts";

const WEB_DIR = fileURLToPath(new URL("../../web/dist", import.meta.url));

export interface TestOptions extends Partial<
  Pick<ComposeDeps, "now" | "webDir" | "collabLimits" | "reviewMs" | "bus" | "node" | "steady">
> {
  /** Environment variables, checked like those of a real start. */
  readonly env?: Readonly<Record<string, string>>;
  /** Settings below the floors that the environment allows; password hashing is made cheap in any case. */
  readonly config?: Partial<Config>;
  /** Data directory that is kept afterwards; a temporary one is made and removed otherwise. */
  readonly dir?: string;
  /** Any store instead of SQLite in `dir`; it is closed by stop(). Several on one store need a `bus` each. */
  readonly store?: Store;
}

export interface TestApp extends App {
  readonly config: Config;
}

export interface TestServer extends Client {
  readonly app: App;
  /** `ws://…`, without a path. */
  readonly wsUrl: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** The application without a port, over an in-memory store unless one is given: for inject(). */
export async function composeForTest(options: TestOptions = {}): Promise<TestApp> {
  const config: Config = {
    ...readConfig({
      LOG_LEVEL: "silent",
      PORT: "0",
      DRAIN_MS: "2000",
      AUTH_REGISTRATIONS_PER_IP: "100000",
      AUTH_LOGINS_PER_IP: "100000",
      ...options.env,
    }),
    AUTH_ARGON2_MEMORY_KIB: 64,
    AUTH_ARGON2_PASSES: 1,
    AUTH_HASH_QUEUE: 10_000,
    ...options.config,
  };
  const app = await compose(config, {
    store: options.store ?? (await openMemory()),
    log: pino({ level: config.LOG_LEVEL }, pino.destination({ dest: 2, sync: true })),
    now: options.now ?? Date.now,
    webDir: options.webDir ?? WEB_DIR,
    ...definedOf(options),
  });
  return { ...app, config };
}

function definedOf({ collabLimits, reviewMs, bus, node, steady }: TestOptions): Partial<ComposeDeps> {
  const given = { collabLimits, reviewMs, bus, node, steady };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** A server in this process on a free port, over SQLite in a temporary (or the given) directory. */
export async function startServer(options: TestOptions = {}): Promise<TestServer> {
  const dir = await dataDir(options.dir);
  const log = pino({ level: "silent" });
  const store = options.store ?? (await openSqlite({ dir: dir.path, log }));
  const app = await composeForTest({ ...options, store });
  const { url, port } = await app.listen();
  return {
    ...createClient(url),
    app,
    port,
    wsUrl: url.replace("http", "ws"),
    stop: async () => {
      await app.stop();
      await dir.remove();
    },
  };
}
