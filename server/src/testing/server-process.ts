import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createClient, type Client } from "./client.ts";
import { dataDir } from "./data-dir.ts";

const MAIN = fileURLToPath(new URL("../main.ts", import.meta.url));
const READY = /^Scriptorium is ready at (?<url>http:\S+)$/;
const START_MS = 30_000;

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
