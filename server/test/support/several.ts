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
  /** From now on the door leads to this node, also after the node has started again at another port. */
  lead(door: number, node: number): void;
  /** The node that a door leads to. */
  leadsTo(door: number): number;
  /** A new paper's notes document. */
  notes(): Promise<string>;
  /** The document as one node tells it over REST. */
  read(node: ServerNode, name: string): Promise<Y.Doc>;
  /** The same of a node that may have just got its store back. */
  tryRead(node: ServerNode, name: string): Promise<Y.Doc | "later">;
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
  const leads: number[] = [];
  const lead = (door: number, node: number): void => {
    leads[door] = node;
    at(doors, door).open(at(nodes, node).process.port);
  };
  const onStarted = (place: number): void =>
    leads.forEach((node, door) => {
      if (node === place) lead(door, place);
    });
  for (let place = 0; place < (options.count ?? 3); place += 1) {
    nodes.push(await openNode(place, { env, ends, onStarted }));
    doors.push(keep(await startProxy()));
    lead(place, place);
  }
  const owner = await createClient(httpOf(at(doors, 0))).register();
  const project = await owner.createProject();
  const tryRead = (url: string, name: string): Promise<Y.Doc | "later"> =>
    readDocument(url, { name, token: owner.accessToken });
  const read = async (url: string, name: string): Promise<Y.Doc> => {
    const found = await tryRead(url, name);
    if (found === "later") throw new Error(`${name} was answered 503`);
    return found;
  };
  return {
    nodes,
    mongo,
    redis,
    owner,
    doors,
    node: (place) => at(nodes, place),
    door: (place) => at(doors, place),
    lead,
    leadsTo: (door) => at(leads, door),
    notes: async () => `notes:${(await owner.createPaper(project.id)).id}`,
    read: (node, name) => read(node.process.url, name),
    tryRead: (node, name) => tryRead(node.process.url, name),
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

interface NodeDeps {
  readonly env: Readonly<Record<string, string>>;
  readonly ends: Ends;
  readonly onStarted: (place: number) => void;
}

async function openNode(place: number, { env, ends, onStarted }: NodeDeps): Promise<ServerNode> {
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
      onStarted(place);
    },
  };
}

async function readDocument(url: string, of: { name: string; token: string }): Promise<Y.Doc | "later"> {
  const response = await fetch(`${url}/api/v1/documents/${encodeURIComponent(of.name)}`, {
    headers: { authorization: `Bearer ${of.token}` },
  });
  if (response.status === 503) return "later";
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
