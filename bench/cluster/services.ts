import { once } from "node:events";
import { createServer } from "node:net";
import { newId } from "@scriptorium/shared";
import { Redis } from "ioredis";
import { Binary, MongoClient } from "mongodb";
import { makeDirectory, removeDirectory, startChild } from "../collab/processes.ts";
import type { Child } from "../collab/processes.ts";

/** What the nodes of both peers share: a Redis and a MongoDB-protocol server, both started by the bench. */
export interface Services {
  readonly redis: { readonly port: number; readonly url: string };
  /** A database that nobody has used. */
  newDatabase(): { readonly url: string; drop(): Promise<void> };
  /** To be charged apart from the servers. */
  readonly pids: Readonly<Record<"redis" | "store", readonly number[]>>;
  /** Milliseconds that a lone insert of one row takes, each of so many. */
  timeInserts(count: number): Promise<number[]>;
  /** Redis' own counts since it began. */
  redisCounts(): Promise<RedisCounts>;
  stop(): Promise<void>;
}

export interface RedisCounts {
  readonly publishes: number;
  readonly commands: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface ServicesPlan {
  /** A MongoDB-protocol server that runs, or the command that runs one (CONTRIBUTING.md); one of the two. */
  readonly mongoUrl: string | undefined;
  readonly mongoServer: string | undefined;
}

const REDIS_READY = /Ready to accept connections/;
const STORE_READY = /^READY/m;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  server.close();
  await once(server, "close");
  return address.port;
}

async function startRedis(directory: string): Promise<{ child: Child; port: number }> {
  const port = await freePort();
  const flags = { port: String(port), bind: "127.0.0.1", save: "", appendonly: "no", dir: directory };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const child = startChild({ command: "redis-server", args });
  await child.line(REDIS_READY);
  return { child, port };
}

async function startStore(
  { mongoUrl, mongoServer }: ServicesPlan,
  directory: string,
): Promise<{ url: string; child: Child | undefined }> {
  if (mongoUrl !== undefined) return { url: mongoUrl, child: undefined };
  if (mongoServer === undefined) throw new Error("neither MONGO_SERVER nor MONGODB_URL is set");
  const port = await freePort();
  const args = ["-c", 'exec $MONGO_SERVER "$0" "$1"', directory, String(port)];
  const env = { MONGO_SERVER: mongoServer };
  const child = startChild({ command: "sh", args, env, lastSignal: "SIGTERM" });
  await child.line(STORE_READY);
  return { url: `mongodb://127.0.0.1:${port}/`, child };
}

export async function startServices(plan: ServicesPlan): Promise<Services> {
  const directories = [makeDirectory(), makeDirectory()] as const;
  const redis = await startRedis(directories[0]);
  const store = await startStore(plan, directories[1]);
  const client = new Redis({ port: redis.port, host: "127.0.0.1" });
  const mongo = new MongoClient(store.url);
  return {
    redis: { port: redis.port, url: `redis://127.0.0.1:${redis.port}` },
    newDatabase: () => {
      const name = `bench-${newId()}`;
      const url = new URL(store.url);
      url.pathname = `/${name}`;
      return { url: url.href, drop: async () => void (await mongo.db(name).dropDatabase()) };
    },
    pids: { redis: [redis.child.pid], store: store.child === undefined ? [] : [store.child.pid] },
    timeInserts: (count) => timeInserts(mongo, count),
    redisCounts: async () => readCounts(await client.info("everything")),
    stop: async () => {
      client.disconnect();
      await mongo.close();
      await redis.child.stop();
      await store.child?.stop();
      for (const directory of directories) removeDirectory(directory);
    },
  };
}

/** About a row of the log: what a commit of one letter puts into the store. */
const ROW_BYTES = 64;

async function timeInserts(mongo: MongoClient, count: number): Promise<number[]> {
  const database = mongo.db(`bench-${newId()}`);
  const rows = database.collection<{ _id: string; data: Binary }>("rows");
  const took: number[] = [];
  await rows.insertOne({ _id: "", data: new Binary(new Uint8Array(ROW_BYTES)) });
  while (took.length < count) {
    const begin = performance.now();
    await rows.insertOne({ _id: newId(), data: new Binary(new Uint8Array(ROW_BYTES)) });
    took.push(performance.now() - begin);
  }
  await database.dropDatabase();
  return took;
}

function readCounts(info: string): RedisCounts {
  const count = (pattern: RegExp): number => Number(pattern.exec(info)?.[1] ?? 0);
  return {
    publishes: count(/^cmdstat_publish:calls=(\d+)/m) + count(/^cmdstat_spublish:calls=(\d+)/m),
    commands: count(/^total_commands_processed:(\d+)/m),
    bytesIn: count(/^total_net_input_bytes:(\d+)/m),
    bytesOut: count(/^total_net_output_bytes:(\d+)/m),
  };
}
