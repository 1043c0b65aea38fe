import { spawnServer, type ServerProcess } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { after, before, describe, it, type TestContext } from "node:test";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { NO_REDIS, startRedis } from "../../src/testing/redis.ts";
import { until } from "../support/site.ts";

/** What listens and is no Redis: it answers every line like an HTTP server, or says nothing at all. */
async function startOther(t: TestContext, says: string): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    if (says !== "") socket.on("data", () => socket.write(says));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server that listens
  return (server.address() as AddressInfo).port;
}

describe("a start with REDIS_URL", { skip: NO_MONGO || NO_REDIS, timeout: 120_000 }, () => {
  let MONGODB_URL = "";
  let drop = async (): Promise<void> => undefined;
  before(async () => {
    ({ url: MONGODB_URL, drop } = await freshDatabase());
  });
  after(async () => {
    await drop();
    await stopSharedMongo();
  });

  const start = (REDIS_URL: string): Promise<ServerProcess> =>
    spawnServer({ env: { MONGODB_URL, REDIS_URL } });
  const refused = async (url: string, says: RegExp): Promise<void> => {
    await assert.rejects(start(url), (error: Error) => {
      const [, stderr = ""] = /before it was ready: ([^]*)$/.exec(error.message) ?? [];
      const lines = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
      assert.equal(lines.length, 1, error.message);
      assert.match(lines[0] ?? "", /^Scriptorium cannot start: REDIS_URL: /);
      assert.match(lines[0] ?? "", says);
      assert.doesNotMatch(error.message, /s3cret/);
      return true;
    });
  };

  it("ends in one line that names it when what is there is no Redis", async (t) => {
    const web = await startOther(t, "HTTP/1.1 400 Bad Request\r\n\r\n");
    await refused(`redis://:s3cret@127.0.0.1:${web}`, /127\.0\.0\.1/);
  });

  it("says which variable is wrong, and goes on degraded, when nobody is there or nobody answers", async (t) => {
    const mute = await startOther(t, "");
    for (const [url, says] of [
      [
        "redis://user:s3cret@127.0.0.1:1",
        /REDIS_URL: Redis at 127\.0\.0\.1:1 cannot be used: nothing listens/,
      ],
      [`redis://127.0.0.1:${mute}`, /REDIS_URL: .* is it a Redis/],
    ] as const) {
      const server = await start(url);
      t.after(() => server.kill("SIGKILL"));
      assert.match(server.logs(), says);
      assert.doesNotMatch(server.logs(), /s3cret/);
      const readyz = await fetch(`${server.url}/readyz`);
      assert.equal(`${readyz.status} ${await readyz.text()}`, '200 {"status":"degraded","reason":"bus"}');
      await server.register();
      assert.deepEqual(await server.kill("SIGTERM"), { code: 0, signal: null });
    }
  });

  it("joins the nodes, is ready, and degraded while the Redis is dead, which ends nothing", async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const [a, b] = await Promise.all([start(redis.url), start(redis.url)]);
    t.after(() => Promise.all([a.kill("SIGKILL"), b.kill("SIGKILL")]));
    const readyz = async ({ url }: ServerProcess): Promise<string> => {
      const response = await fetch(`${url}/readyz`);
      return `${response.status} ${await response.text()}`;
    };
    const metric = async ({ url }: ServerProcess, name: string): Promise<number> => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(new RegExp(`^scriptorium_${name} (\\d+)$`, "m").exec(text)?.[1]);
    };
    const both = (what: string) => async () => {
      const seen = await Promise.all([readyz(a), readyz(b)]);
      return seen.every((each) => each === what);
    };
    await until(both('200 {"status":"ready"}'), "both are ready");
    await until(
      async () => (await metric(a, "nodes_others")) === 1 && (await metric(b, "nodes_others")) === 1,
      "they know each other",
    );
    // Somebody who signs in here is known there, and signed out there at once.
    const ada = await a.register();
    const there = await b.login(ada.user.username);
    const mine = { headers: { authorization: `Bearer ${there.accessToken}` } };
    const status = async ({ url }: ServerProcess) => (await fetch(`${url}/api/v1/users/me`, mine)).status;
    assert.deepEqual(await Promise.all([status(a), status(b)]), [200, 200]);
    await there.logout();
    await until(async () => (await status(a)) === 401, "the session has ended on the other node");
    await redis.kill();
    await until(both('200 {"status":"degraded","reason":"bus"}'), "both are degraded");
    assert.equal(await metric(a, "bus_up"), 0);
    assert.equal((await ada.projects()).items.length, 0);
    const again = await b.login(ada.user.username);
    mine.headers.authorization = `Bearer ${again.accessToken}`;
    assert.equal(await status(a), 200);
    await again.logout();
    await until(async () => (await status(a)) === 401, "the session has ended without a bus");
    await redis.restart();
    await until(both('200 {"status":"ready"}'), "both are ready again");
    assert.equal(await metric(a, "degraded"), 0);
    assert.deepEqual(await b.kill("SIGTERM"), { code: 0, signal: null });
    await until(async () => (await metric(a, "nodes_others")) === 0, "the other has signed off");
    assert.deepEqual(await a.kill("SIGTERM"), { code: 0, signal: null });
  });
});
