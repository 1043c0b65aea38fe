import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { newId, type Bus, type BusState, type Subscription } from "@scriptorium/shared";
import { Redis } from "ioredis";
import { REDIS_BUS_LIMITS, type RedisBusLimits } from "../../src/bus/redis.ts";
import { createRedisNetwork, type RedisNetwork } from "../support/redis-network.ts";
import { NO_REDIS, startRedis, type RedisServer } from "../../src/testing/redis.ts";
import { until } from "../support/site.ts";

/** Redis, or the way to it, fails under nodes that are at work. The process must not notice: what escapes fails the file. */
const escaped: unknown[] = [];
process.on("unhandledRejection", (reason) => void escaped.push(reason));
process.on("uncaughtException", (error) => void escaped.push(error));

describe("the bus when Redis fails", { skip: NO_REDIS }, () => {
  let redis: RedisServer;
  let network: RedisNetwork;
  let close: () => Promise<void>;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());
  const open = (limits?: Partial<RedisBusLimits>) => {
    const opened = createRedisNetwork(redis, limits);
    network = opened.subject;
    close = () => opened.close();
  };
  afterEach(async () => {
    await close();
    assert.deepEqual(escaped, []);
  });

  /** Nodes with channels of their own and one that all hear, publishing all the time: nothing may escape in any moment. */
  async function begin(count: number, limits?: Partial<RedisBusLimits>) {
    open(limits);
    const nodes = await Promise.all(Array.from({ length: count }, () => join()));
    const typing = setInterval(() => {
      for (const { bus } of nodes) bus.publish("busy", Buffer.alloc(200));
    }, 5);
    for (const { bus } of nodes) bus.subscribe("busy", () => undefined);
    const stop = close;
    close = () => {
      clearInterval(typing);
      return stop();
    };
    return nodes;
  }

  async function join() {
    const bus = await network.join();
    const changes: BusState[] = [];
    bus.whenChanged((state) => void changes.push(state));
    const channels = Array.from({ length: 30 }, () => newId());
    const heard = new Map<string, number>();
    const hear = (channel: string) => () => void heard.set(channel, (heard.get(channel) ?? 0) + 1);
    const active = await Promise.all(channels.map((channel) => bus.subscribe(channel, hear(channel)).active));
    assert.ok(active.every(Boolean));
    return { bus, changes, channels, heard };
  }
  type Node = Awaited<ReturnType<typeof join>>;

  /** Every subscription of the second hears the first. */
  async function passes(from: Node, to: Node): Promise<void> {
    to.heard.clear();
    for (const channel of to.channels) from.bus.publish(channel, Buffer.from("x"));
    await until(() => to.heard.size === to.channels.length, "every channel hears");
  }

  const all = (nodes: readonly Node[], state: BusState) => () =>
    nodes.every(({ bus }) => bus.state === state);

  it("is down while Redis is gone by kill -9, and whole again after its restart, twice", async () => {
    const [a, b] = await begin(2);
    assert.ok(a && b);
    for (let round = 1; round <= 2; round += 1) {
      await redis.kill();
      await until(all([a, b], "down"), "both notice");
      drops(a.bus);
      const channel = newId();
      const late: Subscription = a.bus.subscribe(channel, () => void a.heard.set(channel, 1));
      a.channels.push(channel);
      assert.equal(await late.active, false);
      await redis.restart();
      await until(all([a, b], "up"), "both are back");
      await passes(a, b);
      await passes(b, a);
      assert.equal(a.changes.length, 2 * round, a.changes.join());
    }
  });

  it("is down while Redis is stopped with its connections open, answers who waits, and comes back", async () => {
    const [a, b] = await begin(2);
    assert.ok(a && b);
    redis.pause();
    const active = Array.from({ length: 5 }, () => a.bus.subscribe(newId(), () => undefined).active);
    assert.equal(a.bus.state, "up", "nobody can know yet");
    assert.deepEqual(new Set(await Promise.all(active)), new Set([false]));
    await until(all([a, b], "down"), "both notice");
    redis.resume();
    await until(all([a, b], "up"), "both are back");
    await passes(a, b);
    await passes(b, a);
  });

  it("is down for the node alone whose way to Redis is stalled", async () => {
    const [a, b, cut] = await begin(3);
    assert.ok(a && b && cut);
    network.proxyOf(cut.bus).stall();
    await until(all([cut], "down"), "it notices");
    await passes(a, b);
    assert.deepEqual([a.changes, b.changes, cut.changes], [[], [], ["down"]]);
    network.proxyOf(cut.bus).flow();
    await until(all([cut], "up"), "it is back");
    await passes(a, cut);
    await passes(cut, b);
    assert.deepEqual([a.changes, b.changes], [[], []]);
  });

  it("makes connections anew that pass nothing, those too that have not come to greet", async () => {
    const [a, b] = await begin(2, { silentMs: 1200, probeMs: 400 });
    assert.ok(a && b);
    const proxy = network.proxyOf(b.bus);
    proxy.strand();
    await until(() => b.changes.includes("down") && b.bus.state === "up", "it notices and is back");
    proxy.stall();
    const { accepted } = proxy;
    await until(
      () => proxy.accepted >= accepted + 2,
      "it has made new connections, which are stalled from the start",
    );
    assert.equal(b.bus.state, "down");
    proxy.strand();
    await until(() => b.bus.state === "up", "it is back on still newer ones");
    await until(() => a.bus.state === "up", "the other was never concerned, or is back");
    await passes(a, b);
  });

  it("is down where messages take longer than they may, without a new connection, and returns when they do not", async () => {
    const [a, slow] = await begin(2);
    assert.ok(a && slow);
    const { connections } = network.proxyOf(slow.bus);
    network.proxyOf(slow.bus).lag(REDIS_BUS_LIMITS.lateMs * 0.8);
    await until(all([slow], "down"), "two ways of it are too long");
    assert.equal(network.proxyOf(slow.bus).connections, connections);
    network.proxyOf(slow.bus).lag(0);
    await until(all([slow], "up"), "it is back");
    assert.deepEqual(slow.changes, ["down", "up"]);
    assert.equal(network.proxyOf(slow.bus).connections, connections);
    assert.deepEqual(a.changes, []);
  });

  it("stays up when this process is held up for longer than the bus may be silent", async () => {
    const [a, b] = await begin(2);
    assert.ok(a && b);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, REDIS_BUS_LIMITS.silentMs + 1500);
    await passes(a, b);
    const { received } = a.bus.stats();
    await until(() => a.bus.stats().received > received + 100, "it works on");
    assert.deepEqual([a.changes, b.changes], [[], []]);
  });

  it("comes back with all subscriptions when Redis drops it for what it has not read", async () => {
    const [a, b] = await begin(2);
    assert.ok(a && b);
    const admin = new Redis(redis.url);
    await admin.config("SET", "client-output-buffer-limit", "pubsub 256kb 0 0");
    const victim = newId();
    assert.ok(await b.bus.subscribe(victim, () => undefined).active);
    a.bus.publish(victim, Buffer.alloc(600_000));
    await until(() => b.changes.length === 2, "it is dropped and comes back");
    assert.deepEqual([b.changes, a.changes], [["down", "up"], []]);
    await passes(a, b);
    await admin.config("SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60");
    admin.disconnect();
  });

  it("keeps a flood towards a stopped Redis within its bound, whatever the size of the messages", async () => {
    const [a, b] = await begin(2);
    assert.ok(a && b);
    redis.pause();
    const flood = (bus: Bus, size: number) => {
      const message = Buffer.alloc(size);
      for (let sent = 0; sent < 200_000_000; sent += size + 1000) bus.publish("flood", message);
    };
    const bytes = await memoryOf(() => {
      // All of it while nobody can know yet that Redis is stopped.
      flood(a.bus, 50_000);
      flood(b.bus, 24);
      assert.ok(all([a, b], "up")());
    });
    const [large, small] = [a.bus.stats(), b.bus.stats()];
    const { queuedBytes } = REDIS_BUS_LIMITS;
    assert.ok(large.publishedBytes < queuedBytes + 100_000, `${large.publishedBytes} bytes accepted`);
    assert.ok(large.publishedBytes > queuedBytes / 2, `${large.publishedBytes} bytes accepted`);
    assert.ok(small.published < queuedBytes / 1000, `${small.published} messages accepted`);
    assert.ok(small.published > queuedBytes / 4000, `${small.published} messages accepted`);
    assert.ok(large.dropped > 3000 && small.dropped > 100_000, `${large.dropped}, ${small.dropped} dropped`);
    assert.ok(bytes < 12 * queuedBytes, `${bytes} bytes held`);
    await until(all([a, b], "down"), "both notice");
    redis.resume();
    await until(all([a, b], "up"), "both are back");
    await passes(a, b);
  });

  it("survives connections that are cut in the middle of whatever passes", async () => {
    const nodes = await begin(3);
    for (let round = 0; round < 25; round += 1) {
      const { bus, channels } = nodes[round % nodes.length] ?? assert.fail();
      network.proxyOf(bus).cut(1 + ((round * 977) % 6000));
      const subscription = bus.subscribe(newId(), () => undefined);
      bus.subscribe(channels[round] ?? "", () => undefined).end();
      await subscription.active;
      subscription.end();
      if (round % 5 === 4) await until(all(nodes, "up"), "all are back");
    }
    // The last cuts may be still to come; after these there is none.
    for (const { bus, changes } of nodes) {
      const { length } = changes;
      network.proxyOf(bus).cut();
      await until(() => changes.length > length, "it notices");
    }
    await until(all(nodes, "up"), "all are back");
    const [a, b, c] = nodes;
    assert.ok(a && b && c);
    await passes(a, b);
    await passes(b, c);
    await passes(c, a);
    assert.equal(a.bus.stats().refused + b.bus.stats().refused + c.bus.stats().refused, 0);
  });
});

function drops(bus: Bus): void {
  const { dropped } = bus.stats();
  bus.publish("c", Buffer.from("lost"));
  assert.equal(bus.stats().dropped, dropped + 1);
}

/** Growth of the heap and of buffers. */
async function memoryOf(work: () => void): Promise<number> {
  const held = () => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
  const earlier = held();
  work();
  await new Promise((resolve) => setImmediate(resolve));
  return held() - earlier;
}
