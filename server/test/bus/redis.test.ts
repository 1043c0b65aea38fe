import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { newId, type Bus } from "@scriptorium/shared";
import { busContract, type Opened } from "@scriptorium/shared/testing";
import { Redis } from "ioredis";
import { randomBytes } from "node:crypto";
import { createSeal, SEAL_BYTES } from "../../src/bus/seal.ts";
import { createRedisNetwork, type RedisNetwork } from "../support/redis-network.ts";
import { NO_REDIS, startRedis, type RedisServer } from "../../src/testing/redis.ts";
import { until } from "../support/site.ts";

if (NO_REDIS === false) {
  busContract("Redis", async () => {
    const redis = await startRedis();
    const network = createRedisNetwork(redis, { reconnectMs: 200 });
    return {
      subject: network.subject,
      close: async () => {
        await network.close();
        await redis.stop();
      },
    };
  });
} else {
  it("keeps the contract of the bus on Redis", { skip: NO_REDIS }, () => undefined);
}

describe("the bus on Redis", { skip: NO_REDIS }, () => {
  let redis: RedisServer;
  let admin: Redis;
  let network: RedisNetwork;
  let opened: Opened<RedisNetwork>;
  before(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
    opened = createRedisNetwork(redis);
    network = opened.subject;
  });
  after(async () => {
    await opened.close();
    admin.disconnect();
    await redis.stop();
  });

  const countOf = async (command: string): Promise<number> => {
    const stats = await admin.info("commandstats");
    return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0);
  };
  const subscribers = async (channel: string): Promise<unknown> =>
    (await admin.pubsub("NUMSUB", network.prefix + channel))[1];

  it("drops and counts what is forged, truncated, oversized or of another channel, and hears on", async () => {
    const [a, b] = [await network.join(), await network.begin({ limits: { messageBytes: 1000 } })];
    await until(() => b.state === "up", "the other is up");
    const { channel, heard } = await hear(b);
    const full = network.prefix + channel;
    const other = createSeal({ secret: network.secret, messageBytes: 10_000 });
    const genuine = other.seal(full, Buffer.from("genuine"));
    const bad = [
      Buffer.alloc(0),
      Buffer.from("no seal"),
      randomBytes(SEAL_BYTES),
      randomBytes(200),
      genuine.subarray(0, SEAL_BYTES - 1),
      genuine.subarray(0, -1),
      Buffer.concat([genuine, Buffer.of(0)]),
      other.seal(`${network.prefix}elsewhere`, Buffer.from("of another channel")),
      other.seal(channel, Buffer.from("of no prefix")),
      createSeal({ secret: randomBytes(32), messageBytes: 100 }).seal(full, Buffer.from("foreign")),
      other.seal(full, Buffer.alloc(1001)),
    ];
    for (const message of bad) await admin.publish(full, message);
    await admin.publish(full, genuine);
    // Recorded and sent again.
    await admin.publish(full, genuine);
    a.publish(channel, Buffer.from("after"));
    await until(() => heard.length === 2, "the good ones arrive");
    assert.deepEqual(heard.toSorted(), ["after", "genuine"]);
    assert.equal(b.stats().refused, bad.length + 1);
    assert.equal(b.stats().received, 2);
  });

  it("drops and counts what is too large to send", async () => {
    const [a, b] = [await network.begin({ limits: { messageBytes: 1000 } }), await network.join()];
    await until(() => a.state === "up", "the sender is up");
    const { channel, heard } = await hear(b);
    a.publish(channel, Buffer.alloc(1001, "x"));
    a.publish(channel, Buffer.alloc(1000, "y"));
    await until(() => heard.length === 1, "the largest arrives");
    assert.equal(heard[0], "y".repeat(1000));
    assert.deepEqual([a.stats().published, a.stats().dropped, b.stats().refused], [1, 1, 0]);
  });

  it("does not hear another installation on the same Redis, nor one that has only the prefix in common", async () => {
    const [a, stranger, impostor] = await Promise.all([
      network.join(),
      network.begin({ prefix: "scriptorium:other:" }),
      network.begin({ secret: randomBytes(32) }),
    ]);
    const nodes = [a, stranger, impostor];
    await until(() => nodes.every(({ state }) => state === "up"), "all are up");
    const channel = newId();
    const hearing = await Promise.all(nodes.map((bus) => hear(bus, channel)));
    for (const bus of nodes) bus.publish(channel, Buffer.from("hello"));
    await until(() => a.stats().refused + impostor.stats().refused === 2, "the two refuse each other");
    assert.deepEqual(
      hearing.map(({ heard }) => heard),
      [[], [], []],
    );
    assert.equal(stranger.stats().refused, 0);
  });

  it("subscribes a channel once however many listen, and unsubscribes when the last has ended", async () => {
    const bus = await network.join();
    const [channel, other] = [newId(), newId()];
    const calls = await countOf("subscribe");
    const first = bus.subscribe(channel, () => undefined);
    const second = bus.subscribe(channel, () => undefined);
    const third = bus.subscribe(other, () => undefined);
    assert.deepEqual(await Promise.all([first.active, second.active, third.active]), [true, true, true]);
    assert.equal(await bus.subscribe(channel, () => undefined).active, true);
    assert.equal((await countOf("subscribe")) - calls, 1, "one command for one turn");
    assert.equal(await subscribers(channel), 1);
    third.end();
    await until(async () => (await subscribers(other)) === 0, "the channel nobody listens to is given up");
    first.end();
    second.end();
    assert.equal(await subscribers(channel), 1, "the last listener is still there");
  });

  it("carries ten thousand channels with few commands, and has them all when its connection was cut", async () => {
    const [a, b] = [await network.join(), await network.join()];
    const channels = Array.from({ length: 10_000 }, (_, i) => `${newId()}:${i}`);
    const heard = new Set<string>();
    const calls = await countOf("subscribe");
    const subscriptions = channels.map((channel) => b.subscribe(channel, () => heard.add(channel)));
    const answers = await Promise.all(subscriptions.map(({ active }) => active));
    assert.ok(answers.every((active) => active));
    assert.equal((await countOf("subscribe")) - calls, 10);
    const changed: string[] = [];
    b.whenChanged((state) => {
      changed.push(state);
      // In the very turn in which it says up.
      if (state === "up") for (const channel of channels) a.publish(channel, Buffer.from("x"));
    });
    const again = await countOf("subscribe");
    network.proxyOf(b).cut();
    await until(() => changed.includes("up"), "it comes back");
    await until(() => heard.size + a.stats().dropped === channels.length, "every channel hears", 30_000);
    // The sender may drop a part, as its queue has a bound; what it accepted is heard.
    assert.ok(heard.size > 1000, `${heard.size} channels heard`);
    assert.deepEqual(changed, ["down", "up"]);
    assert.equal((await countOf("subscribe")) - again, 11, "a thousand each, and the channel of the probes");
  });

  it("does not count what comes back to the sender, and does not hear it", async () => {
    const a = await network.join();
    const b = await network.join();
    const channel = newId();
    const [atA, atB] = await Promise.all([hear(a, channel), hear(b, channel)]);
    a.publish(channel, Buffer.from("from a"));
    b.publish(channel, Buffer.from("from b"));
    await until(() => atA.heard.length + atB.heard.length === 2, "each hears the other");
    assert.deepEqual([atA.heard, atB.heard], [["from b"], ["from a"]]);
    assert.deepEqual([a.stats().received, a.stats().refused], [1, 0]);
  });

  it("goes on when a listener throws, and logs it", async () => {
    const [a, b] = [await network.join(), await network.join()];
    const channel = newId();
    b.subscribe(channel, () => {
      throw new Error("a bug");
    });
    const { heard } = await hear(b, channel);
    a.publish(channel, Buffer.from("1"));
    a.publish(channel, Buffer.from("2"));
    await until(() => heard.length === 2, "the other listener hears both");
    assert.equal(network.logged.filter(({ message }) => message === "a listener of the bus threw").length, 2);
  });

  it("sends what was published before it is closed, also what the socket has not taken", async () => {
    const [a, b] = [await network.begin({ limits: { closeMs: 30_000 } }), await network.join()];
    await until(() => a.state === "up", "the leaving node is up");
    const { channel, heard } = await hear(b);
    for (let i = 0; i < 60; i += 1) a.publish(channel, Buffer.alloc(100_000, `${i},`));
    assert.deepEqual(a.stats().published, 60);
    await a.close();
    await until(
      () => heard.length === 60,
      () => `${heard.length} of 60 arrive`,
    );
  });

  it("leaves no connection behind when it is closed, whatever state it was in", async () => {
    const open = async () => String(await admin.client("LIST")).split("\n").length - 1;
    const others = await open();
    const buses = await Promise.all(Array.from({ length: 4 }, () => network.begin()));
    await until(() => buses.every(({ state }) => state === "up"), "all are up");
    assert.equal(await open(), others + 8);
    const [up, cut, gone] = buses;
    assert.ok(up && cut && gone);
    network.proxyOf(cut).stall();
    cut.publish("c", Buffer.from("no answer will come"));
    network.cut(gone);
    const young = await network.begin();
    await Promise.all([...buses, young].map((bus) => bus.close()));
    // What it holds back is also the news that the connection has ended.
    network.proxyOf(cut).flow();
    await until(async () => (await open()) === others, "Redis has lost them all");
  });
});

async function hear(bus: Bus, channel = newId()): Promise<{ channel: string; heard: string[] }> {
  const heard: string[] = [];
  const subscription = bus.subscribe(channel, (message) => void heard.push(Buffer.from(message).toString()));
  assert.equal(await subscription.active, true);
  return { channel, heard };
}
