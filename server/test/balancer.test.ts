import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, IncomingMessage, request } from "node:http";
import { connect, Socket } from "node:net";
import { Readable, type Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { describe, it, type TestContext } from "node:test";
import { startBalancer, type Balancer, type BalancerOptions } from "../src/testing/balancer.ts";
import { until } from "./support/site.ts";

/** So long that a test sees no second poll. */
const NEVER_MS = 3_600_000;
const SOON_MS = 10;
/** Several times what two loopback hops hold in the kernel for a reader that stands still. */
const MANY_BYTES = 64 * 1024 * 1024;
const CHUNK = randomBytes(1024 * 1024);

/** A node made of nothing but HTTP: answers with its name, and hands out the raw connections that were upgraded. */
interface TestNode {
  readonly url: string;
  ready: boolean;
  /** Requests but those for /readyz. */
  requests: number;
  readonly upgraded: Socket[];
  /** Ends it; connections are cut. */
  close(): Promise<void>;
}

async function openNode(t: TestContext, name: string): Promise<TestNode> {
  const upgraded: Socket[] = [];
  const server = createServer({ keepAliveTimeout: NEVER_MS }, (asked, response) => {
    if (asked.url === "/readyz") {
      response.statusCode = node.ready ? 200 : 503;
      return response.end();
    }
    node.requests += 1;
    return response.end(name);
  });
  server.on("upgrade", (_request, socket: Duplex, head: Buffer) => {
    assert.ok(socket instanceof Socket);
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    if (head.length > 0) socket.unshift(head);
    upgraded.push(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  const node: TestNode = {
    url: `http://127.0.0.1:${address.port}`,
    ready: true,
    requests: 0,
    upgraded,
    close: async () => {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      for (const socket of upgraded) socket.destroy();
      await once(server, "close");
    },
  };
  t.after(() => node.close());
  return node;
}

async function openScene(
  t: TestContext,
  { count = 2, pollMs = NEVER_MS, ...options }: BalancerOptions & { readonly count?: number } = {},
): Promise<{ balancer: Balancer; nodes: TestNode[]; first: TestNode }> {
  const nodes = await Promise.all(Array.from({ length: count }, (_, i) => openNode(t, `node ${i}`)));
  const balancer = await startBalancer({ pollMs, ...options });
  t.after(() => balancer.stop());
  await balancer.set(nodes.map(({ url }) => url));
  const [first] = nodes;
  assert.ok(first !== undefined);
  return { balancer, nodes, first };
}

/** A request over a connection of its own: its status and body. */
async function ask({ url }: { url: string }): Promise<{ status: number | undefined; body: string }> {
  const asked = request(`${url}/`, { agent: false });
  asked.end();
  const [response] = await once(asked, "response");
  assert.ok(response instanceof IncomingMessage);
  return { status: response.statusCode, body: (await buffer(response)).toString() };
}

/** A connection to the balancer that speaks nothing yet. */
function dial(t: TestContext, { url }: Balancer): Socket {
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  return socket;
}

/** A connection that was upgraded: both of its ends. `early` is sent together with the request. */
async function upgrade(
  t: TestContext,
  { balancer, nodes }: { balancer: Balancer; nodes: readonly TestNode[] },
  early = "",
): Promise<{ client: Socket; node: Socket }> {
  const before = new Set(nodes.flatMap(({ upgraded }) => upgraded));
  const client = dial(t, balancer);
  client.write(`GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n${early}`);
  let head = "";
  while (!head.endsWith("\r\n\r\n")) {
    if (client.readableLength === 0) await once(client, "readable");
    head += String(client.read(1));
  }
  const node = nodes.flatMap(({ upgraded }) => upgraded).find((socket) => !before.has(socket));
  assert.ok(node !== undefined);
  return { client, node };
}

const digestOf = async (stream: AsyncIterable<Buffer>): Promise<string> => {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
};

/** Writes as fast as the stream takes it; `taken` counts what was handed over. */
function pour(stream: Duplex, bytes: number): { taken: number; readonly end: Promise<void> } {
  function* chunks(): Generator<Buffer> {
    for (; state.taken < bytes; state.taken += CHUNK.length) yield CHUNK;
  }
  const state = { taken: 0, end: Promise.resolve() };
  state.end = pipeline(Readable.from(chunks()), stream);
  return state;
}

const openConnections = ({ nodes }: Balancer): number =>
  nodes.reduce((sum, { connections }) => sum + connections, 0);

describe("the balancer", { timeout: 60_000 }, () => {
  it("spreads connections evenly over the nodes that are ready", async (t) => {
    const { balancer, nodes } = await openScene(t, { count: 3 });
    for (let i = 0; i < 9; i += 1) {
      assert.equal((await ask(balancer)).status, 200);
      await until(() => openConnections(balancer) === 0, "the connection has ended");
    }
    assert.deepEqual(
      nodes.map(({ requests }) => requests),
      [3, 3, 3],
    );
  });

  it("fills the node that has the fewest open connections first", async (t) => {
    const { balancer, nodes, first } = await openScene(t, { pollMs: SOON_MS });
    first.ready = false;
    await until(() => balancer.nodes[0]?.ready === false, "the first is known to be unready");
    for (let i = 0; i < 3; i += 1) await upgrade(t, { balancer, nodes });
    first.ready = true;
    await until(() => balancer.nodes[0]?.ready === true, "the first is known to be ready");
    for (let i = 0; i < 3; i += 1) await upgrade(t, { balancer, nodes });
    assert.deepEqual(
      nodes.map(({ upgraded }) => upgraded.length),
      [3, 3],
    );
  });

  it("gives no new connection to an unready node, leaves it those it has, and comes back to it", async (t) => {
    const { balancer, nodes, first } = await openScene(t, { pollMs: SOON_MS });
    const held = [await upgrade(t, { balancer, nodes }), await upgrade(t, { balancer, nodes })];
    first.ready = false;
    await until(() => balancer.nodes[0]?.ready === false, "the first is known to be unready");
    for (let i = 0; i < 4; i += 1) assert.equal((await ask(balancer)).body, "node 1");
    for (const { client, node } of held) {
      client.write("still here");
      assert.equal(String((await once(node, "data"))[0]), "still here");
    }
    first.ready = true;
    await until(() => balancer.nodes[0]?.ready === true, "the first is known to be ready");
    await ask(balancer);
    await ask(balancer);
    assert.ok(first.requests > 0);
  });

  it("tries the next node when one refuses, and asks that one no more until it is ready again", async (t) => {
    const { balancer, first } = await openScene(t, { count: 3 });
    await first.close();
    for (let i = 0; i < 6; i += 1) {
      const { status, body } = await ask(balancer);
      assert.equal(status, 200);
      assert.notEqual(body, "node 0");
    }
    assert.deepEqual(
      balancer.nodes.map(({ ready }) => ready),
      [false, true, true],
    );
  });

  it("answers 503 as a problem document when no node is ready, and not before it is asked", async (t) => {
    const { balancer, nodes } = await openScene(t);
    const silent = dial(t, balancer);
    let heard = 0;
    silent.on("data", (chunk: Buffer) => (heard += chunk.length));
    await until(() => openConnections(balancer) === 1, "the silent one has a node");
    for (const node of nodes) await node.close();
    await once(silent, "end");
    assert.equal(heard, 0, "a node that ends says nothing");

    const patient = dial(t, balancer);
    patient.on("data", (chunk: Buffer) => (heard += chunk.length));
    const { status, body } = await ask(balancer);
    assert.equal(status, 503);
    const problem: unknown = JSON.parse(body);
    assert.ok(typeof problem === "object" && problem !== null && "code" in problem);
    assert.equal(problem.code, "try_later");
    assert.equal(heard, 0);
    // The answer ends the connection also for one who goes on sending.
    patient.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${CHUNK.length}\r\n\r\n`);
    patient.write(CHUNK);
    await once(patient, "end");
    assert.ok(heard > 0);
  });

  it("passes upgrades through byte for byte in both directions, what comes with the request included", async (t) => {
    const scene = await openScene(t);
    const { client, node } = await upgrade(t, scene, "early");
    const both = [
      { from: client, to: node, before: "early" },
      { from: node, to: client, before: "" },
    ];
    const received = both.map(({ to }) => digestOf(to));
    const poured = both.map(({ from }) => pour(from, 8 * CHUNK.length));
    for (const [index, { before }] of both.entries()) {
      const expected = createHash("sha256").update(before);
      for (let i = 0; i < 8; i += 1) expected.update(CHUNK);
      assert.equal(await received[index], expected.digest("hex"));
    }
    await Promise.all(poured.map(({ end }) => end));
    await until(() => openConnections(scene.balancer) === 0, "both sides have ended, so it is over");
  });

  it("keeps one direction open when the other has ended", async (t) => {
    const scene = await openScene(t);
    for (const byClient of [true, false]) {
      const { client, node } = await upgrade(t, scene);
      const [early, late] = byClient ? [client, node] : [node, client];
      early.end("all that I have to say");
      assert.equal((await buffer(late)).toString(), "all that I have to say");
      late.end("an answer");
      assert.equal((await buffer(early)).toString(), "an answer");
    }
    await until(() => openConnections(scene.balancer) === 0, "nothing stays open");
  });

  for (const reader of ["client", "node"] as const) {
    it(`holds back a fast writer while its ${reader} reads nothing, and loses nothing of it`, async (t) => {
      const scene = await openScene(t);
      const stalled = await upgrade(t, scene);
      const [writer, silent] =
        reader === "client" ? [stalled.node, stalled.client] : [stalled.client, stalled.node];
      silent.pause();
      const poured = pour(writer, MANY_BYTES);
      // The clock: others pass as much, and more, at their own pace meanwhile.
      for (let i = 0; i < 2; i += 1) {
        const { client, node } = await upgrade(t, scene);
        const received = digestOf(client);
        await pour(node, MANY_BYTES).end;
        await received;
        client.destroy();
      }
      assert.ok(poured.taken < MANY_BYTES / 2, `${poured.taken} bytes were taken for nobody`);
      let read = 0;
      silent.on("data", (chunk: Buffer) => (read += chunk.length));
      silent.resume();
      await once(silent, "end");
      assert.equal(read, MANY_BYTES);
    });
  }

  it("ends a client's connection to its node when the client breaks off, and the other way round", async (t) => {
    const scene = await openScene(t);
    for (const byClient of [true, false]) {
      const { client, node } = await upgrade(t, scene);
      const [leaver, left] = byClient ? [client, node] : [node, client];
      const closed = once(left.resume(), "close");
      leaver.resetAndDestroy();
      // Whoever is left sees an end, and closes in turn.
      left.once("end", () => left.end());
      await closed;
      await until(() => openConnections(scene.balancer) === 0, "nothing stays open");
    }
  });

  it("waits a bounded time for a refused client to ask", async (t) => {
    const { balancer } = await openScene(t, { lingerMs: SOON_MS });
    await balancer.set([]);
    const silent = dial(t, balancer);
    let heard = 0;
    silent.on("data", (chunk: Buffer) => (heard += chunk.length));
    await once(silent, "end");
    assert.equal(heard, 0);
    await until(() => balancer.openSockets === 0, "it has been left");
  });

  it("takes another list of nodes at run time, and leaves what is open where it is", async (t) => {
    const { balancer, nodes, first } = await openScene(t, { count: 1 });
    const { client, node } = await upgrade(t, { balancer, nodes });
    const other = await openNode(t, "another");
    await balancer.set([other.url, other.url]);
    assert.equal(balancer.nodes.length, 1, "one node, however often it is named");
    for (let i = 0; i < 3; i += 1) assert.equal((await ask(balancer)).body, "another");
    client.write("old friends");
    assert.equal(String((await once(node, "data"))[0]), "old friends");
    await balancer.set([first.url, other.url]);
    await ask(balancer);
    await ask(balancer);
    assert.ok(first.requests > 0, "a node that is named again is used again at once");
  });

  it("cuts everything and refuses everybody when it is stopped", async (t) => {
    const scene = await openScene(t);
    const { client, node } = await upgrade(t, scene);
    const closed = [once(client.resume(), "end"), once(node.resume(), "end")];
    await scene.balancer.stop();
    await Promise.all(closed);
    await assert.rejects(ask(scene.balancer), { code: "ECONNREFUSED" });
  });
});
