import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { dataDir } from "./data-dir.ts";
import { freePort } from "./free-port.ts";

/** A real Redis without persistence, at a port and in a directory of its own, that drills can kill, stop and start again. */

const COMMAND = "redis-server";
const START_ATTEMPTS = 20;
const RETRY_MS = 250;

/** Why tests on a real Redis are skipped; false when they are not. */
export const NO_REDIS =
  spawnSync(COMMAND, ["--version"]).status === 0 ? false : `${COMMAND} is not installed`;

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again, empty, at the same port. */
  restart(): Promise<void>;
  /** SIGSTOP and SIGCONT: a Redis that takes connections and says nothing. */
  pause(): void;
  resume(): void;
  /** Ends it and removes its directory. */
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
  readonly exited: Promise<unknown>;
}

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const dir = await dataDir(undefined);
  let port = 0;
  const start = async (choosePort: boolean): Promise<Running> => {
    for (let attempt = 1; ; attempt += 1) {
      if (choosePort) port = await freePort();
      try {
        return await run({ dir: dir.path, port }, options);
      } catch (error) {
        // Somebody else was faster at this port, or what was killed has not given it back yet.
        if (attempt === START_ATTEMPTS) {
          await dir.remove();
          throw error;
        }
        await delay(RETRY_MS);
      }
    }
  };
  let running = await start(true);
  const { password, tls } = options;
  const user = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
  return {
    url: `${tls === true ? "rediss" : "redis"}://${user}127.0.0.1:${port}`,
    port,
    get pid() {
      return running.child.pid ?? 0;
    },
    async kill() {
      running.child.kill("SIGKILL");
      await running.exited;
    },
    async restart() {
      running = await start(false);
    },
    pause: () => void running.child.kill("SIGSTOP"),
    resume: () => void running.child.kill("SIGCONT"),
    async stop() {
      // It has nothing to save, and one that is stopped (SIGSTOP) would not hear of a gentler end.
      running.child.kill("SIGKILL");
      await running.exited;
      await dir.remove();
    },
  };
}

async function run(
  { dir, port }: { dir: string; port: number },
  { password, tls, args = [] }: RedisServerOptions,
): Promise<Running> {
  const settings = {
    ...(tls === true ? { port: 0, "tls-port": port } : { port }),
    ...(password === undefined ? {} : { requirepass: password }),
    bind: "127.0.0.1",
    dir,
    save: "",
    appendonly: "no",
    daemonize: "no",
  };
  const named = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(COMMAND, [...named, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "close");
  let said = "";
  for await (const line of createInterface({ input: child.stdout })) {
    said += `${line}\n`;
    if (!line.includes("Ready to accept connections")) continue;
    child.stdout.resume();
    return { child, exited };
  }
  await exited;
  throw new Error(`${COMMAND} ended before it was ready: ${said}`);
}
