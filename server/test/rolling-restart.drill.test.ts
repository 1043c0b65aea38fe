import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  spawnServer,
  startCluster,
  type Client,
  type Cluster,
  type ClusterNode,
  type Person,
} from "@scriptorium/server/testing";
import * as Y from "yjs";
import { assertKept, converge, sameContent } from "./support/audit.ts";
import { NO_MONGO } from "./support/mongo.ts";
import { seeded, type Random } from "./support/random.ts";
import { NO_REDIS } from "../src/testing/redis.ts";
import { until } from "./support/site.ts";
import { openCrowd, openHocuspocus, type Typist } from "./support/typists.ts";

/** Per client; the ten clients together make some 80 updates a second, on two documents and three nodes. */
const TYPE_MS = 120;
const DRAIN_MS = 6_000;
/** Beyond DRAIN_MS and the half second after which the process ends whatever is open; a loaded machine is slow. */
const MARGIN_MS = 15_000;
const SETTLED_MS = 60_000;
/** Of each document. */
const LEAVERS = 3;

const promisedTo = (typists: readonly Typist[]): number =>
  typists.reduce((sum, { promised }) => sum + promised.length, 0);

async function isReady({ url }: Client): Promise<boolean> {
  // A refused connection is as good as a 503: nobody is sent there.
  const answer = await fetch(`${url}/readyz`, { headers: { connection: "close" } }).catch(() => undefined);
  return answer?.status === 200;
}

/** How many document sockets the node has open, as it tells an operator. */
async function socketsOf({ url }: Client): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^scriptorium_collab_sockets (?<count>\d+)$/m.exec(metrics)?.groups?.["count"]);
}

async function documentAt(client: Client, of: { username: string; name: string }): Promise<Y.Doc> {
  const doc = new Y.Doc();
  Y.applyUpdate(doc, await (await client.login(of.username)).document(of.name));
  return doc;
}

interface Scene {
  readonly cluster: Cluster;
  readonly typists: readonly Typist[];
  /** Gone for good when their node closes them: nobody brings again what the node had told them was saved. */
  readonly leavers: readonly Typist[];
}

/** SIGTERM to one node under typing, until it has ended and its clients are elsewhere. */
async function drain(node: ClusterNode, { typists, leavers }: Scene): Promise<string> {
  const had = await socketsOf(node);
  const all = [...typists, ...leavers];
  const before = new Map(all.map((typist) => [typist, typist.closes.length]));
  const moved = (): Typist[] => all.filter((typist) => typist.closes.length > (before.get(typist) ?? 0));
  const began = performance.now();
  const exited = node.kill("SIGTERM");
  while (node.running) {
    const closed = moved().length > 0;
    const ready = await isReady(node);
    assert.ok(!(closed && ready), "readiness is off before the first socket is closed");
    assert.ok(performance.now() - began < DRAIN_MS + MARGIN_MS, `ends in time: ${node.logs()}`);
    await delay(10);
  }
  assert.deepEqual(await exited, { code: 0, signal: null }, node.logs());
  const tookMs = Math.round(performance.now() - began);
  await until(() => moved().length >= had, "those it had have seen it");
  assert.equal(moved().length, had, "those it had are sent away, and nobody else");
  for (const typist of moved()) assert.equal(typist.closes[before.get(typist) ?? 0], 1012, typist.name);
  await until(() => typists.every(({ connected }) => connected), "everybody is on another node", SETTLED_MS);
  return `${had} clients moved, ended after ${tookMs} ms`;
}

async function openScene(t: TestContext): Promise<Scene & { readonly username: string }> {
  const random = seeded(randomInt(2 ** 31));
  t.diagnostic(`seed ${random.seed}`);
  const cluster = await startCluster({ env: { DRAIN_MS: String(DRAIN_MS) } });
  t.after(() => cluster.stop());
  const owner = await cluster.register();
  const project = await owner.createProject();
  const site = { proxy: cluster, owner, after: (work: () => void) => t.after(work) };
  const typists: Typist[] = [];
  const leavers: Typist[] = [];
  for (let i = 0; i < 2; i += 1) {
    const document = `notes:${(await owner.createPaper(project.id)).id}`;
    typists.push(...openCrowd(site, { document, random, hocuspocus: 3, yWebsocket: 2 }));
    for (let place = 0; place < LEAVERS; place += 1)
      leavers.push(openLeaver(cluster, { document, random, name: `l${i}${place}`, owner }));
  }
  t.after(() => leavers.forEach((leaver) => leaver.destroy()));
  await until(() => [...typists, ...leavers].every(({ settled }) => settled), "everybody is in", SETTLED_MS);
  return { cluster, typists, leavers, username: owner.user.username };
}

function openLeaver(
  { wsUrl }: Cluster,
  of: { document: string; random: Random; name: string; owner: Person },
): Typist {
  const { document, random, name, owner } = of;
  const leaver: Typist = openHocuspocus({
    name,
    wsUrl,
    document,
    token: owner.accessToken,
    random: random.fork(),
    onClose: () => leaver.destroy(),
  });
  return leaver;
}

describe("a rolling restart of three nodes", { skip: NO_MONGO || NO_REDIS }, () => {
  it("[EN1] [DL3] [CL2] under typing loses and doubles nothing, in any replica and in the store", async (t) => {
    const scene = await openScene(t);
    const { cluster, typists, leavers, username } = scene;
    for (const { connections } of cluster.balancer.nodes)
      assert.ok(connections > 0, "all nodes have clients");
    for (const typist of [...typists, ...leavers]) typist.startTyping(TYPE_MS);
    for (const node of cluster.nodes) {
      const enough = promisedTo(typists) + 3 * typists.length;
      await until(() => promisedTo(typists) >= enough, "acknowledgements come");
      const { pid } = node;
      t.diagnostic(`pid ${pid}: ${await drain(node, scene)}`);
      await node.restart();
      assert.notEqual(node.pid, pid);
    }
    assert.ok(
      leavers.every(({ closes }) => closes.length === 1),
      "all leavers have left",
    );
    for (const node of cluster.nodes)
      await converge({ read: (name) => documentAt(node, { username, name }) }, typists, leavers);

    for (const node of cluster.nodes) assert.equal((await node.kill("SIGTERM")).code, 0, node.logs());
    const fresh = await spawnServer({ env: cluster.env });
    t.after(() => fresh.kill("SIGKILL"));
    let acknowledged = 0;
    for (const [name, group] of Map.groupBy(typists, ({ document }) => document)) {
      const stored = await documentAt(fresh, { username, name });
      const gone = leavers.filter(({ document }) => document === name);
      acknowledged += assertKept(stored, [...group, ...gone]).acknowledged;
      for (const { doc } of group)
        assert.ok(sameContent(doc, stored), "what the store tells is what all have");
    }
    const words = [...typists, ...leavers].reduce((sum, typist) => sum + typist.words.length, 0);
    t.diagnostic(`${words} words typed, ${acknowledged} known to be acknowledged, none lost, none doubled`);
  });
});
