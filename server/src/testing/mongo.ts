import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { newId } from "@scriptorium/shared";
import { MongoClient } from "mongodb";
import { freePort } from "./free-port.ts";

/**
 * A MongoDB, or a server that speaks its protocol: one that runs (MONGODB_URL), or the command MONGO_SERVER, called as
 * `$MONGO_SERVER DIR PORT`, which runs one in the foreground, prints a line that begins with READY and ends on SIGTERM.
 * Drills need the command, since they kill and restart it.
 */

const START_ATTEMPTS = 20;
const RETRY_MS = 250;

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
  const command = process.env["MONGO_SERVER"];
  if (command === undefined) throw new Error("MONGO_SERVER is not set");
  // Directly in the temporary folder: as root the server is another user, who cannot enter a private folder.
  const dir = await mkdtemp(join(tmpdir(), "scriptorium-mongo-"));
  const removeDir = () => rm(dir, { recursive: true, force: true });
  const port = await freePort();
  const start = () => run(command, { dir, port });
  let running = await start().catch(async (error: unknown) => {
    await removeDir();
    throw error;
  });
  const resume = () => running.pids.forEach((pid) => signal(pid, "SIGCONT"));
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
          running = await start();
          return;
        } catch (error) {
          // What was killed may need a moment to give back its memory and its port.
          if (attempt === START_ATTEMPTS) throw error;
          await delay(RETRY_MS);
        }
      }
    },
    pause: () => running.pids.forEach((pid) => signal(pid, "SIGSTOP")),
    resume,
    async stop() {
      // What is stopped would not hear SIGTERM. After an end by itself the pids may be somebody else's.
      if (running.child.exitCode === null && running.child.signalCode === null) resume();
      running.child.kill("SIGTERM");
      await running.exited;
      await removeDir();
    },
  };
}

async function run(command: string, { dir, port }: { dir: string; port: number }): Promise<Running> {
  const child = spawn("sh", ["-c", `exec ${command} "$0" "$1"`, dir, String(port)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  const closed = once(child, "close");
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith("READY")) continue;
    child.stdout.resume();
    const pids = Array.from(line.matchAll(/ \w+=(\d+)(?= |$)/g), ([, pid]) => Number(pid));
    return { child, exited, pids };
  }
  await closed;
  throw new Error(`MONGO_SERVER ended without a READY line: ${said.trim()}`);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // ESRCH: it has ended by itself.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

export interface Database {
  readonly url: string;
  readonly drop: () => Promise<void>;
}

/** The address of a database on this server that nobody else uses; `drop` removes it. */
export function newDatabase(server: string): Database {
  const address = new URL(server);
  address.pathname = `/scriptorium-test-${newId()}`;
  const url = address.href;
  return {
    url,
    async drop() {
      const client = new MongoClient(url);
      await client.db().dropDatabase();
      await client.close();
    },
  };
}
