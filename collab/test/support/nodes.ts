import type { TestContext } from "node:test";
import type { DocumentStore, Peers } from "@scriptorium/collab";
import { faultyStore, memoryDocumentStore, type FaultyStore } from "@scriptorium/collab/testing";
import type { Bus } from "@scriptorium/shared";
import { newId } from "@scriptorium/shared";
import { createMemoryHub, type MemoryHub } from "@scriptorium/shared/testing";
import {
  notesName,
  openProvider,
  openYjs,
  People,
  startHarness,
  storedText,
  until,
  type ClientOptions,
  type Harness,
  type HarnessOptions,
  type ProviderClient,
  type YjsClient,
} from "./harness.ts";

/** One node of several: a server on its own port, over the common store and bus. */
export interface Node {
  readonly id: string;
  readonly harness: Harness;
  /** As long as it is `full`, it takes no message; it stays up. */
  readonly bus: Bus & { full: boolean };
  /** The same, as the hub knows it. */
  readonly joined: Bus;
  /** Its own way to the common store, to make it fail for this node alone. */
  readonly faulty: FaultyStore;
  readonly peers: { others: Set<string>; cutOff: boolean };
  provider(token?: string, options?: ClientOptions & { name?: string }): ProviderClient;
  yjs(token?: string, options?: ClientOptions & { name?: string }): YjsClient;
  /** As a crash: the others hear nothing, and nothing more is written. */
  crash(): Promise<void>;
}

export interface Nodes {
  readonly hub: MemoryHub;
  readonly people: People;
  readonly store: DocumentStore;
  readonly name: string;
  readonly all: readonly Node[];
  node(index: number): Node;
  /** Cut from the bus, which every node knows from the store. */
  cut(node: Node): void;
  heal(node: Node): void;
  /** The text that a server which has just started finds in the store. */
  freshText(): Promise<string>;
}

export interface NodesOptions extends Pick<HarnessOptions, "limits"> {
  readonly count?: number;
  /** What a node has for the common store. */
  readonly storeOf?: (place: number, store: DocumentStore) => DocumentStore;
  /** Wall clock of a node, by its place; by default everybody's. */
  readonly now?: (place: number) => () => number;
}

/** Several nodes on one memory store and one memory bus, one document, and its clients; all end with the test. */
export async function openNodes(t: TestContext, options: NodesOptions = {}): Promise<Nodes> {
  const hub = createMemoryHub();
  const people = new People();
  const store = memoryDocumentStore();
  const name = notesName();
  const all: Node[] = [];
  t.after(async () => {
    await Promise.all(all.map((node) => node.crash()));
  });
  for (let place = 0; place < (options.count ?? 2); place += 1) {
    all.push(
      await openNode({
        hub,
        people,
        store: options.storeOf?.(place, store) ?? store,
        name,
        limits: options.limits ?? {},
        now: options.now?.(place),
      }),
    );
  }
  for (const node of all)
    node.peers.others = new Set(all.filter((other) => other !== node).map(({ id }) => id));
  const announce = (): void => {
    for (const node of all)
      node.peers.cutOff = all.some((other) => other !== node && other.bus.state === "down");
  };
  return {
    hub,
    people,
    store,
    name,
    all,
    node(index) {
      const node = all[index];
      if (node === undefined) throw new Error(`there is no node ${index}`);
      return node;
    },
    cut(node) {
      hub.cut(node.joined);
      announce();
    },
    heal(node) {
      hub.heal(node.joined);
      announce();
    },
    async freshText() {
      const other = await startHarness({ store });
      try {
        return await storedText(other.collab, name);
      } finally {
        await other.stop();
      }
    },
  };
}

interface Common {
  readonly hub: MemoryHub;
  readonly people: People;
  readonly store: DocumentStore;
  readonly name: string;
  readonly limits: NonNullable<HarnessOptions["limits"]>;
  readonly now: (() => number) | undefined;
}

async function openNode({ hub, people, store, name, limits, now }: Common): Promise<Node> {
  const id = newId();
  const joined = hub.join();
  const bus = thatMayBeFull(joined);
  const faulty = faultyStore(store);
  const peers = { others: new Set<string>(), cutOff: false } satisfies Peers;
  const harness = await startHarness({
    store: faulty.store,
    people,
    limits: { beatMs: 50, leaseMs: 200, pollMs: 50, digestMs: 100, replyMs: 10, replyPauseMs: 20, ...limits },
    cluster: { node: id, bus, peers },
    ...(now && { now }),
  });
  const clients: { destroy(): void }[] = [];
  const keep = <T extends { destroy(): void }>(client: T): T => {
    clients.push(client);
    return client;
  };
  let stopped = false;
  return {
    id,
    harness,
    bus,
    joined,
    faulty,
    peers,
    provider: (token = "ada", given = {}) =>
      keep(openProvider(harness.url, given.name ?? name, { token, ...given })),
    yjs: (token = "bo", given = {}) => keep(openYjs(harness.url, given.name ?? name, { ...given, token })),
    async crash() {
      if (stopped) return;
      stopped = true;
      hub.mute(joined);
      for (const client of clients) client.destroy();
      faulty.heal();
      await until(() => harness.collab.stats().sockets === 0, "all clients are gone");
      await harness.stop();
      await joined.close();
    },
  };
}

function thatMayBeFull(bus: Bus): Bus & { full: boolean } {
  let dropped = 0;
  return {
    full: false,
    get state() {
      return bus.state;
    },
    publish(channel, message) {
      if (this.full) dropped += 1;
      else bus.publish(channel, message);
    },
    subscribe: (channel, listener) => bus.subscribe(channel, listener),
    whenChanged: (listener) => bus.whenChanged(listener),
    stats() {
      const stats = bus.stats();
      return { ...stats, dropped: stats.dropped + dropped };
    },
    close: () => bus.close(),
  };
}
