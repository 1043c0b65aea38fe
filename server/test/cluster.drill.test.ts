import assert from "node:assert/strict";
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { after, before, describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { startCluster, type Cluster } from "@scriptorium/server/testing";
import { startBalancer } from "../src/testing/balancer.ts";
import { startRedis } from "../src/testing/redis.ts";
import { freshDatabase, NO_MONGO, NO_MONGO_COMMAND, stopSharedMongo } from "./support/mongo.ts";
import { descendantsOf, groupOf, untilGone } from "./support/processes.ts";
import { seeded } from "./support/random.ts";
import { NO_REDIS } from "../src/testing/redis.ts";
import { until } from "./support/site.ts";
import { openCrowd, type Typist } from "./support/typists.ts";

const SCRIPT = fileURLToPath(new URL("../../scripts/cluster.ts", import.meta.url));
/** Three nodes, a MongoDB and a browser client that may have to be built, on a loaded machine. */
const START_MS = 120_000;

/** Clients of a new account on the notes of a new paper, all through the balancer. */
async function openNotes(t: TestContext, cluster: Cluster) {
  const owner = await cluster.register();
  const project = await owner.createProject();
  const document = `notes:${(await owner.createPaper(project.id, "Shared by all")).id}`;
  const site = { proxy: cluster, owner, after: (work: () => void) => t.after(work) };
  const typists = openCrowd(site, { document, random: seeded(11), hocuspocus: 3, yWebsocket: 3 });
  await settled(typists);
  return { owner, project, document, typists };
}

const settled = (typists: readonly Typist[]): Promise<void> =>
  until(() => typists.every((typist) => typist.settled), "everybody is settled", START_MS);

describe("a cluster of three nodes", { skip: NO_MONGO || NO_REDIS }, () => {
  let cluster: Cluster;
  let started: number[];
  before(async () => {
    const earlier = new Set(descendantsOf(process.pid));
    cluster = await startCluster();
    started = descendantsOf(process.pid).filter((pid) => !earlier.has(pid));
  });
  after(() => cluster.stop());

  it("knows an account on every node as soon as it is made on one", async () => {
    const [first, ...others] = cluster.nodes;
    const ada = (await first?.register("ada")) ?? assert.fail();
    assert.equal(others.length, 2);
    for (const node of [...others, cluster])
      assert.equal((await node.login("ada", ada.password)).user.id, ada.user.id);
  });

  it("tells a paper and what was typed into its notes on every node once it is acknowledged", async (t) => {
    const { owner, project, document, typists } = await openNotes(t, cluster);
    const [writer] = typists;
    assert.ok(writer?.dialect === "hocuspocus");
    for (let round = 0; round < 5; round += 1) {
      writer.type();
      await until(() => writer.settled, "it is acknowledged");
      for (const node of cluster.nodes) {
        const person = await node.login(owner.user.username);
        const { items } = await person.call<{ items: { title: string }[] }>(
          "GET",
          `/projects/${project.id}/papers`,
        );
        assert.deepEqual(
          items.map(({ title }) => title),
          ["Shared by all"],
        );
        // A node that has the document open hears of it a moment later.
        await until(
          async () => (await person.markdown(document)) === writer.text.toJSON(),
          "the node tells what was acknowledged",
        );
      }
    }
  });

  it("moves the clients of a node that gets SIGTERM to the others, and fills its successor first", async (t) => {
    const { typists } = await openNotes(t, cluster);
    const [leaving] = cluster.nodes;
    assert.ok(leaving !== undefined);
    assert.ok(cluster.balancer.nodes.every(({ connections }) => connections >= 2));
    assert.deepEqual(await leaving.kill("SIGTERM"), { code: 0, signal: null }, leaving.logs());
    assert.equal(leaving.running, false);
    await until(() => typists.some(({ closes }) => closes[0] === 1012), "its clients are told to come back");
    await settled(typists);
    assert.equal(cluster.balancer.nodes.length, 2, "the balancer has forgotten it");
    for (const typist of typists) typist.type();
    await settled(typists);
    await until(
      () => typists.every(({ text }) => text.toJSON() === typists[0]?.text.toJSON()),
      "all have what all typed",
    );
    await leaving.restart();
    const successor = () => cluster.balancer.nodes.find(({ url }) => url === leaving.url);
    assert.deepEqual(successor(), { url: leaving.url, ready: true, connections: 0 });
    await openNotes(t, cluster);
    assert.ok((successor()?.connections ?? 0) > 0);
  });

  it("leaves nothing behind when it is stopped, with a node that is dead and a Redis that says nothing", async () => {
    const [first, second, third] = cluster.nodes.map(({ pid }) => pid);
    // The first was replaced by the test before.
    for (const pid of [second, third]) assert.ok(started.includes(pid ?? 0));
    assert.ok(started.length > cluster.nodes.length, "Redis at least is there too");
    await cluster.nodes[1]?.kill("SIGKILL");
    cluster.redis.pause();
    await cluster.stop();
    await untilGone([...started, first ?? 0]);
    await assert.rejects(fetch(cluster.url));
    for (const event of ["SIGINT", "SIGTERM"] as const)
      assert.equal(process.listenerCount(event), 0, `nobody listens to ${event} any more`);
  });
});

describe("a start of a cluster that fails half-way", { skip: NO_REDIS }, () => {
  it("says why and leaves nothing behind", async () => {
    const earlier = new Set(descendantsOf(process.pid));
    const mongo = { url: "mongodb://127.0.0.1/never-asked" };
    await assert.rejects(startCluster({ mongo, env: { LOG_LEVEL: "deafening" } }), /LOG_LEVEL/);
    const busy = await startBalancer();
    await assert.rejects(startCluster({ port: Number(new URL(busy.url).port) }), { code: "EADDRINUSE" });
    await busy.stop();
    await untilGone(descendantsOf(process.pid).filter((pid) => !earlier.has(pid)));
  });
});

describe("a process with a cluster", { skip: NO_REDIS }, () => {
  const code =
    'const { startCluster } = await import("@scriptorium/server/testing");' +
    'await startCluster({ nodes: 0, mongo: { url: "mongodb://127.0.0.1/never-asked" } });' +
    'console.log("ready"); process.stdin.once("data", () => process.exit(3));';
  const ends: Record<string, (child: ChildProcessByStdio<Writable, Readable, null>) => void> = {
    "ends without a word": ({ stdin }) => void stdin.write("end"),
    "gets SIGTERM": (child) => void child.kill("SIGTERM"),
  };

  for (const [what, end] of Object.entries(ends)) {
    it(`takes it along when it ${what}`, async () => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
        cwd: fileURLToPath(new URL("..", import.meta.url)),
        stdio: ["pipe", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      const started = descendantsOf(child.pid ?? 0);
      assert.equal(started.length, 1, "Redis is there");
      end(child);
      await once(child, "close");
      assert.equal(child.exitCode ?? child.signalCode, what === "gets SIGTERM" ? "SIGTERM" : 3);
      await untilGone(started);
    });
  }
});

interface Command {
  readonly pid: number;
  said(): string;
  readonly ended: Promise<number | null>;
}

/** `npm run cluster`, once it is ready. */
async function runCommand(t: TestContext, env: Readonly<Record<string, string>> = {}): Promise<Command> {
  const child = spawn(process.execPath, [SCRIPT], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PORT: "0", ...env },
  });
  let said = "";
  for (const output of [child.stdout, child.stderr])
    output.setEncoding("utf8").on("data", (text: string) => (said += text));
  const ended = once(child, "close").then(() => child.exitCode);
  t.after(() => child.kill("SIGTERM"));
  await until(
    () => said.includes("Ctrl-C ends everything") || child.exitCode !== null,
    () => `it is ready: ${said}`,
    START_MS,
  );
  return { pid: child.pid ?? 0, said: () => said, ended };
}

const nodesIn = (said: string): number[] =>
  Array.from(said.matchAll(/ pid (\d+)/g), ([, pid]) => Number(pid));

describe("npm run cluster", { skip: NO_MONGO_COMMAND || NO_REDIS }, () => {
  after(stopSharedMongo);

  it("serves people, starts a node that was killed again, and ends everything on Ctrl-C", async (t) => {
    const command = await runCommand(t);
    const url = /ready at (?<url>\S+)/.exec(command.said())?.groups?.["url"] ?? assert.fail(command.said());
    assert.equal((await fetch(url)).status, 200);
    const nodes = nodesIn(command.said());
    assert.equal(nodes.length, 3);
    const [victim = 0] = nodes;
    // Ctrl-C in a terminal is for the whole group: Redis and MongoDB must not hear it before the nodes have ended.
    assert.notEqual(groupOf(victim), groupOf(command.pid));
    process.kill(victim, "SIGKILL");
    await until(
      () => nodesIn(command.said()).length === 4,
      () => `another is there: ${command.said()}`,
      START_MS,
    );
    const started = descendantsOf(command.pid);
    process.kill(command.pid, "SIGINT");
    assert.equal(await command.ended, 0, command.said());
    await untilGone(started);
  });

  it("ends when whoever started it is killed", async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const { url } = await freshDatabase();
    const command = await runCommand(t, { MONGODB_URL: url, REDIS_URL: redis.url });
    assert.doesNotMatch(command.said(), /mongodb:/, "an address that was given is not shown");
    const started = descendantsOf(command.pid);
    assert.ok(started.length >= 4);
    process.kill(command.pid, "SIGKILL");
    await untilGone(started);
  });

  it("says in a line what is missing and how to get it", async () => {
    const child = spawn(process.execPath, [SCRIPT], { stdio: ["ignore", "pipe", "pipe"], env: { PATH: "" } });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    await once(child, "close");
    assert.equal(child.exitCode, 1);
    assert.match(
      said,
      /^MongoDB is missing: .*MONGODB_URL.*MONGO_SERVER.*\nRedis is missing: .*REDIS_URL\n$/,
    );
  });
});
