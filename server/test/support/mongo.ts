import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { newId } from "@scriptorium/shared";
import { MongoClient } from "mongodb";

/**
 * A MongoDB, or a server that speaks its protocol, for tests: one that runs (MONGODB_URL), or the command MONGO_SERVER,
 * called as `$MONGO_SERVER DIR PORT`, which runs one in the foreground, prints a line that begins with READY and ends on
 * SIGTERM. Drills need the command, since they kill and restart it.
 */

const { MONGODB_URL, MONGO_SERVER } = process.env;
/** Why tests on any MongoDB are skipped; false when they are not. */
export const NO_MONGO =
  MONGODB_URL === undefined && MONGO_SERVER === undefined
    ? "neither MONGODB_URL (a server that runs) nor MONGO_SERVER (a command that runs one) is set"
    : false;
/** Why tests that kill the server are skipped; false when they are not. */
export const NO_MONGO_COMMAND =
  MONGO_SERVER === undefined
    ? "MONGO_SERVER, a command that runs a MongoDB-protocol server, is not set"
    : false;

const START_ATTEMPTS = 20;

export interface MongoServer {
  /** Address without a database. */
  readonly url: string;
  /** SIGKILL to the server and everything behind it; resolves when all is gone. */
  kill(): Promise<void>;
  /** Starts it again over the same data, at the same port. */
  restart(): Promise<void>;
  /** SIGSTOP and SIGCONT to what answers clients: a server that is there and says nothing. */
  pause(): void;
  resume(): void;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

interface Running {
  readonly child: ChildProcess;
  readonly exited: Promise<unknown>;
  /** Processes that the READY line names. */
  readonly pids: readonly number[];
}

/** Runs MONGO_SERVER in a directory and at a port of its own. */
export async function startMongo(): Promise<MongoServer> {
  // Directly in the temporary folder: as root the server is another user, who cannot enter a private folder.
  const dir = await mkdtemp(join(tmpdir(), "scriptorium-mongo-"));
  const port = await freePort();
  let running = await run(dir, port);
  return {
    url: `mongodb://127.0.0.1:${port}/`,
    async kill() {
      for (const pid of running.pids) signal(pid, "SIGKILL");
      running.child.kill("SIGKILL");
      await running.exited;
    },
    async restart() {
      for (let attempt = 1; ; attempt += 1) {
        try {
          running = await run(dir, port);
          return;
        } catch (error) {
          // What was killed may need a moment to give back its memory and its port.
          if (attempt === START_ATTEMPTS) throw error;
          await delay(250);
        }
      }
    },
    pause: () => running.pids.forEach((pid) => signal(pid, "SIGSTOP")),
    resume: () => running.pids.forEach((pid) => signal(pid, "SIGCONT")),
    async stop() {
      running.child.kill("SIGTERM");
      await running.exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function run(dir: string, port: number): Promise<Running> {
  const child = spawn("sh", ["-c", 'exec $MONGO_SERVER "$0" "$1"', dir, String(port)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith("READY")) continue;
    child.stdout.resume();
    const pids = Array.from(line.matchAll(/ \w+=(\d+)(?= |$)/g), ([, pid]) => Number(pid));
    return { child, exited, pids };
  }
  throw new Error(`MONGO_SERVER ended without a READY line: ${said}`);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // ESRCH: it has ended by itself.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
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

/** The server of this test file: the one that runs, or one started at the first use. */
let shared: Promise<MongoServer> | undefined;

/** The address of a database that nobody else uses; `drop` removes it. */
export async function freshDatabase(): Promise<{ readonly url: string; readonly drop: () => Promise<void> }> {
  if (MONGODB_URL === undefined) shared ??= startMongo();
  const server = new URL(MONGODB_URL ?? (await shared)?.url ?? "");
  server.pathname = `/scriptorium-test-${newId()}`;
  const url = server.href;
  return {
    url,
    async drop() {
      const client = new MongoClient(url);
      await client.db().dropDatabase();
      await client.close();
    },
  };
}

/** To be called when the file's tests have ended. */
export async function stopSharedMongo(): Promise<void> {
  await (await shared)?.stop();
}
