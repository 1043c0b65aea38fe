import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { createClient, spawnServer, type Person, type ServerProcess } from "@scriptorium/server/testing";
import * as Y from "yjs";
import { startProxy, type Proxy } from "./proxy.ts";

/** A real server process that is killed and started again over one data directory, behind an address that stays. */
export interface Site {
  readonly dir: string;
  readonly proxy: Proxy;
  /** The process that runs now, or ran last. */
  readonly server: ServerProcess;
  /** The first account; asks through the proxy, so it goes on working over restarts. */
  readonly owner: Person;
  register(): Promise<Person>;
  login(person: Person): Promise<Person>;
  /** A new paper's notes document. */
  notes(projectId: string): Promise<string>;
  /** Starts the server again; clients stay shut out until `proxy.open`. */
  start(): Promise<ServerProcess>;
  /** Opens the proxy to the server that runs now. */
  letIn(): void;
  /** The document as the server tells it over REST, past the proxy. Before anybody opens it, what the store alone holds. */
  read(name: string): Promise<Y.Doc>;
  /** Runs when the test has ended, before the server is stopped. */
  after(work: () => void): void;
}

export async function openSite(
  t: TestContext,
  options: { env?: Readonly<Record<string, string>> } = {},
): Promise<Site> {
  const dir = await mkdtemp(join(tmpdir(), "scriptorium-drill-"));
  const proxy = await startProxy();
  const ends: (() => unknown)[] = [];
  t.after(async () => {
    for (const end of ends.toReversed()) await end();
    await proxy.stop();
    await rm(dir, { recursive: true, force: true });
  });
  const spawn = async (): Promise<ServerProcess> => {
    const spawned = await spawnServer({ dir, ...options });
    ends.unshift(() => spawned.kill("SIGKILL"));
    return spawned;
  };
  let server = await spawn();
  proxy.open(server.port);
  const client = createClient(proxy.wsUrl.replace("ws", "http"));
  const owner = await client.register();
  return {
    dir,
    proxy,
    get server() {
      return server;
    },
    owner,
    register: () => client.register(),
    login: (person) => client.login(person.user.username),
    notes: async (projectId) => `notes:${(await owner.createPaper(projectId)).id}`,
    start: async () => {
      server = await spawn();
      return server;
    },
    letIn: () => proxy.open(server.port),
    read: async (name) => readDocument(server.url, { name, token: owner.accessToken }),
    after: (work) => void ends.push(work),
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

/** Waits until the condition holds; fails with what did not happen after a bounded time. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new Error(`never happened: ${typeof what === "string" ? what : what()}`);
    await delay(5);
  }
}
