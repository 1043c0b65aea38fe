import type { TestContext } from "node:test";
import { createClient, spawnServer, type Person, type ServerProcess } from "@scriptorium/server/testing";
import { newId } from "@scriptorium/shared";
import * as Y from "yjs";
import { startMongo, type MongoServer } from "../../src/testing/mongo.ts";
import { startRedis, type RedisServer } from "../../src/testing/redis.ts";
import { startProxy, type Proxy } from "./proxy.ts";

/**
 * Several real server processes on one MongoDB-protocol server and one Redis. Each reaches them through proxies of its
 * own, so that one node alone can be cut off; clients come in by doors that lead to one node or another.
 */
export interface Several {
  readonly nodes: readonly ServerNode[];
  readonly mongo: MongoServer;
  readonly redis: RedisServer;
  /** The first account; asks through the first door. */
  readonly owner: Person;
  /** As many as nodes; the door at a place leads to the node at that place at first. */
  readonly doors: readonly Proxy[];
  node(place: number): ServerNode;
  door(place: number): Proxy;
  /** A new paper's notes document. */
  notes(): Promise<string>;
  /** The document as one node tells it over REST. */
  read(node: ServerNode, name: string): Promise<Y.Doc>;
  /** Starts one more process on the same store, past all proxies, and gives its answer about the document. */
  readFresh(names: readonly string[]): Promise<ReadonlyMap<string, Y.Doc>>;
  /** Runs when the test has ended, before the servers are stopped. */
  after(work: () => void): void;
}

export interface ServerNode {
  readonly place: number;
  /** The process that runs now, or ran last. */
  readonly process: ServerProcess;
  readonly toMongo: Proxy;
  readonly toRedis: Proxy;
  /** Starts it again, after it has ended. */
  start(): Promise<void>;
}

export interface SeveralOptions {
  readonly count?: number;
  readonly env?: Readonly<Record<string, string>>;
}

type Ends = (() => unknown)[];

export async function openSeveral(t: TestContext, options: SeveralOptions = {}): Promise<Several> {
  const ends: Ends = [];
  t.after(async () => {
    for (const end of ends.toReversed()) await end();
  });
  const keep = <T extends { stop(): unknown }>(started: T): T => {
    ends.push(() => started.stop());
    return started;
  };
  const mongo = keep(await startMongo());
  const redis = keep(await startRedis());
  const database = newId();
  const env = { ...options.env, MONGODB_URL: `${mongo.url}${database}`, REDIS_URL: redis.url };
  const nodes: ServerNode[] = [];
  const doors: Proxy[] = [];
  for (let place = 0; place < (options.count ?? 3); place += 1) {
    const node = await openNode(place, { env, ends });
    const door = keep(await startProxy());
    door.open(node.process.port);
    nodes.push(node);
    doors.push(door);
  }
  const owner = await createClient(httpOf(at(doors, 0))).register();
  const project = await owner.createProject();
  const read = (url: string, name: string): Promise<Y.Doc> =>
    readDocument(url, { name, token: owner.accessToken });
  return {
    nodes,
    mongo,
    redis,
    owner,
    doors,
    node: (place) => at(nodes, place),
    door: (place) => at(doors, place),
    notes: async () => `notes:${(await owner.createPaper(project.id)).id}`,
    read: (node, name) => read(node.process.url, name),
    async readFresh(names) {
      const fresh = await spawnServer({ env });
      ends.push(() => fresh.kill("SIGKILL"));
      const found = new Map<string, Y.Doc>();
      for (const name of names) found.set(name, await read(fresh.url, name));
      await fresh.kill("SIGTERM");
      return found;
    },
    after: (work) => void ends.push(work),
  };
}

async function openNode(
  place: number,
  { env, ends }: { env: Record<string, string>; ends: Ends },
): Promise<ServerNode> {
  const through = async (variable: string): Promise<Proxy> => {
    const proxy = await startProxy();
    ends.push(() => proxy.stop());
    const address = new URL(env[variable] ?? "");
    proxy.open(Number(address.port));
    address.port = new URL(proxy.wsUrl).port;
    own[variable] = address.href;
    return proxy;
  };
  const own = { ...env };
  const toMongo = await through("MONGODB_URL");
  const toRedis = await through("REDIS_URL");
  const start = async (): Promise<ServerProcess> => {
    const spawned = await spawnServer({ env: own });
    ends.push(() => spawned.kill("SIGKILL"));
    return spawned;
  };
  let process = await start();
  return {
    place,
    get process() {
      return process;
    },
    toMongo,
    toRedis,
    async start() {
      process = await start();
    },
  };
}

async function readDocument(url: string, of: { name: string; token: string }): Promise<Y.Doc> {
  const response = await fetch(`${url}/api/v1/documents/${encodeURIComponent(of.name)}`, {
    headers: { authorization: `Bearer ${of.token}` },
  });
  if (!response.ok) throw new Error(`${of.name} was answered ${response.status}`);
  const doc = new Y.Doc();
  Y.applyUpdate(doc, new Uint8Array(await response.arrayBuffer()));
  return doc;
}

function httpOf({ wsUrl }: Proxy): string {
  return wsUrl.replace("ws", "http");
}

function at<T>(list: readonly T[], place: number): T {
  const found = list[place];
  if (found === undefined) throw new Error(`there is nothing at place ${place}`);
  return found;
}
