import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

/** A Redis for tests: the program `redis-server` of the PATH, at a port of its own, with nothing written to disk. */

/** Why tests on a real Redis are skipped; false when they are not. */
export const NO_REDIS = hasRedis() ? false : "redis-server is not installed";

const START_ATTEMPTS = 20;

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now. */
  readonly pid: number;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again, empty, at the same port. */
  restart(): Promise<void>;
  /** SIGSTOP and SIGCONT: a server that is there and says nothing. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export interface RedisServerOptions {
  readonly password?: string;
  /** More of the command line; names TLS files when it is to speak TLS. */
  readonly args?: readonly string[];
  /** TLS instead of plain TCP. */
  readonly tls?: boolean;
}

interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly exited: Promise<unknown>;
}

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  let port = 0;
  let running = await retried(async () => {
    // Another process may have taken it meanwhile.
    port = await freePort();
    return run(port, options);
  });
  const end = async (signal: NodeJS.Signals) => {
    running.child.kill(signal);
    // A stopped process takes no other signal.
    running.child.kill("SIGCONT");
    await running.exited;
  };
  const { password, tls } = options;
  const user = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
  return {
    url: `${tls === true ? "rediss" : "redis"}://${user}127.0.0.1:${port}`,
    port,
    get pid() {
      return running.pid;
    },
    kill: () => end("SIGKILL"),
    async restart() {
      running = await retried(() => run(port, options));
    },
    pause: () => void running.child.kill("SIGSTOP"),
    resume: () => void running.child.kill("SIGCONT"),
    stop: () => end("SIGTERM"),
  };
}

async function run(port: number, { password, tls, args = [] }: RedisServerOptions): Promise<Running> {
  const ports = tls === true ? ["--port", "0", "--tls-port", `${port}`] : ["--port", `${port}`];
  const child = spawn(
    "redis-server",
    [
      ...ports,
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--appendonly",
      "no",
      "--dir",
      tmpdir(),
      ...(password === undefined ? [] : ["--requirepass", password]),
      ...args,
    ],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  const exited = once(child, "exit");
  let said = "";
  for await (const line of createInterface({ input: child.stdout })) {
    said += `${line}\n`;
    if (!line.includes("Ready to accept connections")) continue;
    child.stdout.resume();
    if (child.pid === undefined) break;
    return { child, pid: child.pid, exited };
  }
  throw new Error(`redis-server ended without being ready: ${said}`);
}

async function retried<T>(attempt: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await attempt();
    } catch (error) {
      // The port of what was killed may need a moment to be free.
      if (attempts === START_ATTEMPTS) throw error;
      await delay(100);
    }
  }
}

function hasRedis(): boolean {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  server.close();
  await once(server, "close");
  return address.port;
}
