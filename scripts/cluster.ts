/**
 * `npm run cluster`: three nodes on this machine behind one address, on a real MongoDB and Redis, until Ctrl-C. A node that
 * ends is started again, so killing one is safe to try. PORT (3200), MONGODB_URL, REDIS_URL, LOG_LEVEL, DRAIN_MS and the
 * limits (AUTH_*, COLLAB_*, REST_*) are taken from the environment; no .env is read.
 */
import { startCluster, type ClusterNode } from "@scriptorium/server/testing";
import { execFileSync, fork } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const ROOT = path.dirname(import.meta.dirname);
const MONGOD = path.join(ROOT, "scripts/mongod.sh");
const SETTINGS = /^((AUTH|COLLAB|REST)_[A-Z_]+|LOG_LEVEL|DRAIN_MS)$/;
const AGAIN_MS = 3_000;
/** What a person can mend. */
const MENDABLE: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use by another program; set PORT",
  ERR_SOCKET_BAD_PORT: "PORT must be a whole number up to 65535; 0 picks any free one",
};
const { PORT = "3200", PATH = "", MONGODB_URL, MONGO_SERVER, REDIS_URL } = process.env;

const onPath = (command: string): boolean =>
  PATH.split(path.delimiter).some((folder) => existsSync(path.join(folder, command)));

/** What this machine lacks, one line each. */
function missing(): string[] {
  const lacks: string[] = [];
  if (MONGODB_URL === undefined && MONGO_SERVER === undefined && !onPath("mongod")) {
    lacks.push(
      "MongoDB is missing: install mongod, or set MONGODB_URL (a server that runs) or MONGO_SERVER (a command that runs one; CONTRIBUTING.md)",
    );
  }
  if (REDIS_URL === undefined && !onPath("redis-server")) {
    lacks.push("Redis is missing: install redis-server (scripts/provision.sh does), or set REDIS_URL");
  }
  return lacks;
}

/**
 * The cluster runs in a process group of its own: Ctrl-C goes to everybody in the terminal's group, and would end Redis and
 * MongoDB under nodes that are still committing. It ends when we ask it to, and when we are gone.
 */
function guard(): void {
  const lacks = missing();
  if (lacks.length > 0) {
    console.error(lacks.join("\n"));
    process.exitCode = 1;
    return;
  }
  execFileSync(process.execPath, [path.join(ROOT, "scripts/build-web.ts")], { stdio: "inherit" });
  const child = fork(import.meta.filename, {
    detached: true,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    env: { MONGO_SERVER: `'${MONGOD}'`, ...process.env },
  });
  let asked = false;
  const ask = (): void => {
    if (asked) return endGroup(child.pid);
    asked = true;
    console.log("\nEnding everything; once more to end it at once");
    child.kill("SIGTERM");
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, ask);
  child.once("exit", (code) => {
    // Nothing is left of it, unless it was killed.
    endGroup(child.pid);
    process.exit(asked ? 0 : (code ?? 1));
  });
}

function endGroup(leader: number | undefined): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, "SIGKILL");
  } catch (error) {
    // ESRCH: all of them have ended, which is what was wanted.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

let ending = false;

/** Starts another process whenever this node's has ended. */
async function keep(node: ClusterNode, name: string): Promise<void> {
  const { code, signal } = await node.exited;
  if (ending) return;
  console.log(`${name} has ended (${signal ?? code}) and is started again`);
  while (!(await startAgain(node, name))) await delay(AGAIN_MS);
  if (!ending) console.log(describe(node, name));
  await keep(node, name);
}

async function startAgain(node: ClusterNode, name: string): Promise<boolean> {
  try {
    await node.restart();
  } catch (error) {
    if (!ending) console.error(`${name}: ${says(error)}`);
    return ending;
  }
  return true;
}

function says(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const mend = "code" in error && typeof error.code === "string" ? MENDABLE[error.code] : undefined;
  return mend === undefined ? error.message : `${mend} (${error.message})`;
}

const describe = (node: ClusterNode, name: string): string => `${name}   ${node.url}   pid ${node.pid}`;

async function run(): Promise<void> {
  const env = Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      SETTINGS.test(name) && value !== undefined ? [[name, value]] : [],
    ),
  );
  const cluster = await startCluster({
    port: Number(PORT),
    env,
    redis: REDIS_URL === undefined ? "own" : { url: REDIS_URL },
    ...(MONGODB_URL === undefined ? {} : { mongo: { url: MONGODB_URL } }),
  });
  console.log(`\nThe cluster is ready at ${cluster.url}\n`);
  for (const [index, node] of cluster.nodes.entries()) {
    const name = `node ${index + 1}`;
    console.log(describe(node, name));
    void keep(node, name);
  }
  // An address that was given may hold a password.
  console.log(`MongoDB  ${MONGODB_URL === undefined ? cluster.mongo.url : "the one at MONGODB_URL"}`);
  console.log(`Redis    ${REDIS_URL === undefined ? cluster.redis.url : "the one at REDIS_URL"}\n`);
  console.log(
    MONGODB_URL === undefined
      ? "All data is in a temporary directory and gone afterwards; with MONGODB_URL it stays there."
      : "All data is in that MongoDB and stays there.",
  );
  console.log("Ctrl-C ends everything. A node that is killed is started again.");
}

if (process.send === undefined) guard();
else {
  // The cluster ends by itself on SIGTERM, and by SIGTERM when whoever started us is gone.
  process.once("SIGTERM", () => (ending = true));
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
  try {
    await run();
  } catch (error) {
    if (!ending) console.error(`The cluster cannot start: ${says(error)}`);
    process.exit(1);
  }
}
