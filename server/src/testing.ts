import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { compose, type App, type ComposeDeps } from "./compose.ts";
import { readConfig, type Config } from "./config.ts";
import { openMemory } from "./storage/adapters/memory/open.ts";
import { openSqlite } from "./storage/adapters/sqlite/open.ts";
import type { Store } from "./storage/store.ts";
import { createClient, type Client } from "./testing/client.ts";

/** Servers for the tests and benchmarks of every room: in this process, or as a child that can be killed. */

export { createClient, RestError } from "./testing/client.ts";
export type { Client, Person } from "./testing/client.ts";

const WEB_DIR = fileURLToPath(new URL("../../web/dist", import.meta.url));
const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const READY = /^Scriptorium is ready at (?<url>http:\S+)$/;
const START_MS = 30_000;

export interface TestOptions extends Partial<
  Pick<ComposeDeps, "now" | "webDir" | "collabLimits" | "bus" | "node" | "steady">
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

function definedOf({ collabLimits, bus, node, steady }: TestOptions): Partial<ComposeDeps> {
  const given = { collabLimits, bus, node, steady };
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

export interface ServerProcess extends Client {
  readonly wsUrl: string;
  readonly port: number;
  readonly pid: number;
  /** The data directory, for a second start over the same data. */
  readonly dir: string;
  /** Resolves when the process has ended. */
  kill(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** What it wrote to stderr so far (JSON lines), the last 64 KiB. */
  logs(): string;
}

const LOG_CHARS = 65_536;

/** A server in a process of its own; for drills with kill -9. Its directory stays when `dir` is given. */
export async function spawnServer(
  options: { env?: Readonly<Record<string, string>>; dir?: string } = {},
): Promise<ServerProcess> {
  const dir = await dataDir(options.dir);
  const child = spawn(process.execPath, [MAIN], {
    // Not in our cwd: somebody's .env must not reach a test.
    cwd: dir.path,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env["PATH"],
      HOST: "127.0.0.1",
      PORT: "0",
      DATA_DIR: dir.path,
      LOG_LEVEL: "warn",
      AUTH_REGISTRATIONS_PER_IP: "100000",
      AUTH_LOGINS_PER_IP: "100000",
      AUTH_HASH_QUEUE: "10000",
      ...options.env,
    },
  });
  let logs = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    logs = (logs + text).slice(-LOG_CHARS);
  });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      dir.remove().then(() => resolve({ code, signal }), reject);
    });
  });
  const url = await readyUrl(child, exited, () => logs);
  return {
    ...createClient(url),
    wsUrl: url.replace("http", "ws"),
    port: Number(new URL(url).port),
    pid: child.pid ?? 0,
    dir: dir.path,
    kill: (signal) => {
      child.kill(signal);
      return exited;
    },
    exited,
    logs: () => logs,
  };
}

async function readyUrl(
  child: ReturnType<typeof spawn>,
  exited: Promise<unknown>,
  logs: () => string,
): Promise<string> {
  if (child.stdout === null) throw new Error("the server's stdout is not a pipe");
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise<string>((resolve) => {
    lines.on("line", (line) => {
      const url = READY.exec(line)?.groups?.["url"];
      if (url !== undefined) resolve(url);
    });
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the server was not ready in time: ${logs()}`)), START_MS);
  });
  const ended = exited.then(() =>
    Promise.reject(new Error(`the server ended before it was ready: ${logs()}`)),
  );
  try {
    return await Promise.race([ready, late, ended]);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    clearTimeout(timer);
    // Lost the race; a later end of the process is no failure.
    ended.catch(() => undefined);
  }
}

async function dataDir(given: string | undefined): Promise<{ path: string; remove: () => Promise<void> }> {
  if (given !== undefined) return { path: given, remove: async () => undefined };
  const path = await mkdtemp(join(tmpdir(), "scriptorium-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
