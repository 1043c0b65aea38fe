import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { Redis, type RedisOptions } from "ioredis";
import { parseRedisAddress } from "../../src/bus/address.ts";
import { checkRedis } from "../../src/bus/check.ts";
import { explainRedis } from "../../src/bus/reasons.ts";
import { createRedisNetwork } from "../support/redis-network.ts";
import { NO_REDIS, startRedis, type RedisServer } from "../../src/testing/redis.ts";
import { until } from "../support/site.ts";

const PREFIX = "scriptorium:test:";
const SECRET = "s3cret/with:odd@signs";

/** What the operator reads; fails when there is nothing to read, or something secret in it. */
async function refusal(url: string, timeoutMs?: number): Promise<string> {
  try {
    await checkRedis({ url, prefix: PREFIX, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  } catch (error) {
    assert.ok(error instanceof Error);
    // Whatever a logger would print of it, too.
    const all = `${error.message} ${JSON.stringify(error)} ${String(error.cause)}`;
    assert.doesNotMatch(all, /s3cret|odd%40|operator/);
    assert.doesNotMatch(error.message, /\n/);
    return error.message;
  }
  return assert.fail(`nothing was said against this address`);
}

describe("the address of Redis", () => {
  const read = (url: string): RedisOptions => parseRedisAddress(url).options;

  it("has a host, and may have a port, a user, a password and a database", () => {
    assert.deepEqual(read("redis://cache"), { host: "cache", port: 6379, db: 0 });
    assert.deepEqual(read("redis://cache:7000/"), { host: "cache", port: 7000, db: 0 });
    assert.deepEqual(read(`redis://operator:${encodeURIComponent(SECRET)}@10.0.0.1:1/3`), {
      host: "10.0.0.1",
      port: 1,
      username: "operator",
      password: SECRET,
      db: 3,
    });
    assert.deepEqual(read("redis://:pw@[::1]:7000"), { host: "::1", port: 7000, password: "pw", db: 0 });
  });

  it("is TLS with rediss, where a name is sent along and an address of numbers is not", () => {
    assert.deepEqual(read("rediss://cache/1"), {
      host: "cache",
      port: 6379,
      db: 1,
      tls: { servername: "cache" },
    });
    assert.deepEqual(read("rediss://127.0.0.1").tls, {});
    assert.deepEqual(read("rediss://[::1]").tls, {});
  });

  it("is shown without user and password", () => {
    assert.equal(parseRedisAddress("rediss://operator:pw@cache/3").shown, "cache:6379");
    assert.equal(parseRedisAddress("redis://:pw@[::1]:7000").shown, "[::1]:7000");
  });

  it("is refused in one line that repeats nothing of it", () => {
    const bad = [
      "",
      "localhost:6379",
      "http://s3cret@cache",
      "redis://",
      "redis://:s3cret@",
      "redis://:s3cret@cache:99999",
      "redis://operator:s3cret/rest@cache",
      "redis://:s3cret#rest@cache",
      "redis://:s3cret?rest@cache",
      "redis://cache/s3cret",
      "redis://cache/1/2",
      "redis://cache/-1",
      "redis://cache?password=s3cret",
      "redis://:s3cret%@cache",
      "redis://:s3cret%zz@cache",
    ];
    for (const url of bad) {
      assert.throws(
        () => parseRedisAddress(url),
        (error) =>
          error instanceof Error &&
          error.constructor === Error &&
          error.cause === undefined &&
          !/s3cret|rest@|operator|cache|\n/.test(error.message),
        url,
      );
    }
  });
});

describe("the reasons why Redis cannot be used", () => {
  it("hold nothing but codes, whatever a server says and a command held", () => {
    const reply = (message: string, name: string) =>
      Object.assign(new Error(message), {
        name: "ReplyError",
        command: { name, args: ["operator", SECRET] },
      });
    const errors = [
      reply(`ERR unknown command \`AUTH\`, with args beginning with: \`${SECRET}\``, "auth"),
      reply(SECRET, "auth"),
      reply("WRONGPASS invalid username-password pair", "auth"),
      Object.assign(new Error(`connect ECONNREFUSED ${SECRET}`), { code: "ECONNREFUSED" }),
      Object.assign(new Error(`getaddrinfo ENOTFOUND ${SECRET}`), { code: "ENOTFOUND" }),
      Object.assign(new Error(SECRET), { code: "ESOMETHING" }),
      new Error(SECRET),
      SECRET,
      undefined,
    ];
    const said = errors.map(explainRedis);
    for (const why of said) assert.doesNotMatch(why, /s3cret|operator|\n/);
    assert.deepEqual(said, [
      "it refuses the user or the password (ERR)",
      "it refuses the user or the password (ERR)",
      "the user or the password is wrong (WRONGPASS)",
      "nothing listens there (ECONNREFUSED)",
      "the name cannot be resolved (ENOTFOUND)",
      "the connection failed (ESOMETHING)",
      "it does not answer as a Redis does",
      "it failed without a reason",
      "it failed without a reason",
    ]);
  });
});

describe("the check of what is not a Redis", () => {
  const servers: Server[] = [];
  after(() => servers.forEach((server) => server.close()));
  /** The port of a server that does this with every connection. */
  const listen = async (greet: (socket: Socket) => void): Promise<number> => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      greet(socket);
    }).listen(0, "127.0.0.1");
    servers.push(server);
    await once(server, "listening");
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    return address.port;
  };

  it("says when nothing listens", async () => {
    const port = await listen(() => undefined);
    servers.pop()?.close();
    const says = await refusal(`redis://operator:s3cret@127.0.0.1:${port}`);
    assert.equal(says, `Redis at 127.0.0.1:${port} cannot be used: nothing listens there (ECONNREFUSED)`);
  });

  it("says when something else answers, hangs up or keeps silent", async () => {
    const http = await listen((socket) =>
      socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
    );
    assert.match(await refusal(`redis://:s3cret@127.0.0.1:${http}`), /does not answer as a Redis does/);
    const rude = await listen((socket) => socket.destroy());
    assert.match(await refusal(`redis://:s3cret@127.0.0.1:${rude}`), /closed the connection|does not answer/);
    const silent = await listen((socket) => socket.resume());
    assert.match(await refusal(`redis://:s3cret@127.0.0.1:${silent}`, 200), /does not answer; is it a Redis/);
    assert.match(await refusal(`rediss://:s3cret@127.0.0.1:${silent}`, 200), /does not answer/);
    assert.match(await refusal(`rediss://:s3cret@127.0.0.1:${http}`), /does not speak TLS/);
  });
});

describe("the check of a Redis", { skip: NO_REDIS }, () => {
  let redis: RedisServer;
  let admin: Redis;
  let at: string;
  before(async () => {
    redis = await startRedis({ password: SECRET });
    admin = new Redis(redis.url);
    at = `127.0.0.1:${redis.port}`;
  });
  after(async () => {
    admin.disconnect();
    await redis.stop();
  });

  it("says nothing when all is well, with a user and a database too", async () => {
    await checkRedis({ url: redis.url, prefix: PREFIX });
    await checkRedis({ url: `${redis.url}/15`, prefix: PREFIX });
    const rights = ["+publish", "+subscribe", "+unsubscribe", `&${PREFIX}*`];
    await admin.acl("SETUSER", "operator", "on", ">pw", ...rights);
    await checkRedis({ url: `redis://operator:pw@${at}`, prefix: PREFIX });
  });

  it("tells a wrong password, a missing one, missing rights and a missing database apart", async () => {
    assert.match(await refusal(`redis://:s3cret-too@${at}`), /user or the password is wrong \(WRONGPASS\)$/);
    assert.match(await refusal(`redis://nobody:s3cret@${at}`), /user or the password is wrong/);
    assert.match(await refusal(`redis://${at}`), /wants a password \(NOAUTH\)$/);
    assert.match(await refusal(`${redis.url}/9999`), /no database of this number \(ERR\)$/);
    await admin.acl("SETUSER", "reader", "on", ">pw", "+subscribe", "allchannels");
    assert.match(await refusal(`redis://reader:pw@${at}`), /may not publish and subscribe/);
    await admin.acl("SETUSER", "elsewhere", "on", ">pw", "+publish", "+subscribe", "&other:*");
    assert.match(await refusal(`redis://elsewhere:pw@${at}`), /may not publish and subscribe/);
  });

  it("says when a Redis without TLS is asked for TLS", async () => {
    assert.match(await refusal(`rediss://:s3cret@${at}`, 300), /does not answer; is it a Redis with TLS/);
  });

  it("leaves no connection behind", async () => {
    await until(
      async () =>
        String(await admin.client("LIST"))
          .trim()
          .split("\n").length === 1,
      "only this test is connected",
    );
  });

  it("is not needed for the bus to bear a wrong password, which it logs once and without it", async (t) => {
    const network = createRedisNetwork(
      { ...redis, url: `redis://operator:s3cret-wrong@${at}` },
      { reconnectMs: 100 },
    );
    t.after(() => network.close());
    const bus = await network.subject.begin();
    const refused = async () =>
      Number(/^errorstat_WRONGPASS:count=(\d+)/m.exec(await admin.info("errorstats"))?.[1] ?? 0);
    const earlier = await refused();
    await until(async () => (await refused()) > earlier + 6, "it tries on");
    bus.publish("c", Buffer.from("x"));
    assert.equal(bus.state, "down");
    assert.equal(await bus.subscribe("c", () => undefined).active, false);
    assert.doesNotMatch(JSON.stringify(network.subject.logged), /s3cret/);
    assert.equal(network.subject.logged.length, 1, JSON.stringify(network.subject.logged));
  });
});

const NO_OPENSSL = hasOpenssl() ? false : "openssl is not installed";

describe("the bus over TLS", { skip: NO_REDIS || NO_OPENSSL }, () => {
  let redis: RedisServer;
  let dir: string;
  const trusted = getCACertificates("default");
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "scriptorium-tls-"));
    const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")];
    const made = ["-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2"];
    const name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync("openssl", ["req", "-x509", ...made, ...name], { stdio: "ignore" });
    const files = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert];
    redis = await startRedis({ tls: true, password: SECRET, args: [...files, "--tls-auth-clients", "no"] });
  });
  after(async () => {
    setDefaultCACertificates(trusted);
    await redis.stop();
    rmSync(dir, { recursive: true });
  });

  it("refuses a certificate that nobody vouches for, and works with one that is trusted", async (t) => {
    assert.match(await refusal(redis.url), /certificate is not trusted/);
    setDefaultCACertificates([...trusted, readFileSync(join(dir, "cert.pem"), "utf8")]);
    await checkRedis({ url: redis.url, prefix: PREFIX });
    const network = createRedisNetwork(redis);
    t.after(() => network.close());
    const [a, b] = await Promise.all([network.subject.join(), network.subject.join()]);
    const heard: string[] = [];
    assert.ok(await b.subscribe("c", (message) => void heard.push(Buffer.from(message).toString())).active);
    a.publish("c", Buffer.from("sealed twice"));
    await until(() => heard.length === 1, "the message arrives");
    network.subject.cut(b);
    await until(() => b.state === "down", "the cut is noticed");
    network.subject.heal(b);
    await until(() => b.state === "up", "it comes back");
    assert.match(await refusal(redis.url.replace("rediss", "redis"), 3000), /Redis at 127/);
  });
});

function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
