import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { createRedisBus } from "../../src/bus/redis.ts";
import { until } from "../support/site.ts";

/** What a server does with a command; a rejection that nobody awaits, or an error that is thrown, fails the file. */
type Answer = (command: { name: string; args: string[]; connection: number }, socket: Socket) => void;

describe("the bus towards a server that misbehaves", () => {
  const ok = "+OK\r\n";
  const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`;
  const confirm = (channel: string) => `*3\r\n${bulk("subscribe")}${bulk(channel)}:1\r\n`;

  async function begin(t: TestContext, answer: Answer) {
    let connections = 0;
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      const connection = (connections += 1);
      socket.on("error", () => undefined);
      socket.on("data", (data) => {
        // Commands are small here, so they come whole.
        for (const [name = "", ...args] of parseCommands(data.toString("latin1")))
          answer({ name, args, connection }, socket);
      });
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    const warned: object[] = [];
    const bus = createRedisBus({
      url: `redis://127.0.0.1:${address.port}`,
      prefix: "test:",
      secret: randomBytes(32),
      log: { info: () => undefined, warn: (fields) => void warned.push(fields), error: assert.fail },
      limits: { reconnectMs: 20, probeMs: 200, silentMs: 400 },
    });
    t.after(async () => {
      await bus.close();
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return { bus, warned, connections: () => connections };
  }

  it("bears one that hangs up at every subscription, also when they are made again", async (t) => {
    const { bus, connections } = await begin(t, ({ name, args, connection }, socket) => {
      if (name !== "subscribe") socket.write(ok);
      // The first time it agrees, so that there is something to be made again.
      else if (connection <= 2) socket.write(args.map(confirm).join(""), () => socket.destroy());
      else socket.destroy();
    });
    const { active } = bus.subscribe("c", () => undefined);
    await until(() => connections() > 12, "it tries on");
    assert.equal(await active, false);
    assert.equal(bus.state, "down");
  });

  it("bears one that refuses to publish or to subscribe, and says so once", async (t) => {
    for (const refused of ["publish", "subscribe"]) {
      const { bus, warned, connections } = await begin(t, ({ name, args }, socket) => {
        if (name === refused) socket.write(`-NOPERM User secret has no permissions\r\n`);
        else socket.write(name === "subscribe" ? args.map(confirm).join("") : ok);
      });
      await until(() => connections() > 8, "it tries on");
      assert.equal(bus.state, "down");
      assert.deepEqual(warned.length, 1, JSON.stringify(warned));
      assert.match(JSON.stringify(warned), /may not publish and subscribe/);
      assert.doesNotMatch(JSON.stringify(warned), /secret/);
    }
  });

  it("bears one that answers and never passes a message on: it is not up", async (t) => {
    const { bus, connections } = await begin(t, ({ name, args }, socket) =>
      socket.write(name === "subscribe" ? args.map(confirm).join("") : name === "publish" ? ":1\r\n" : ok),
    );
    await until(() => connections() > 4, "it makes connections anew");
    assert.equal(bus.state, "down");
  });

  it("bears nonsense instead of messages and answers", async (t) => {
    const nonsense = [
      `*3\r\n${bulk("message")}$-1\r\n$-1\r\n`,
      `*3\r\n${bulk("message")}${bulk("test:c")}$-1\r\n`,
      `*3\r\n${bulk("message")}${bulk("test:c")}${bulk("no seal")}`,
      `*3\r\n${bulk("message")}:1\r\n:2\r\n`,
      "HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    let sent = 0;
    const { bus, connections } = await begin(t, ({ name, args }, socket) => {
      if (name !== "subscribe") socket.write(ok);
      else socket.write(args.map(confirm).join("") + (nonsense[(sent += 1) % nonsense.length] ?? ""));
    });
    bus.subscribe("c", () => assert.fail("there is nothing to hear"));
    await until(() => connections() > 10, "it tries on");
    assert.equal(bus.state, "down");
    assert.ok(bus.stats().refused > 0);
  });
});

function* parseCommands(text: string): Iterable<string[]> {
  for (let at = 0; at < text.length;) {
    const parts: string[] = [];
    const lines = /\*(\d+)\r\n/y;
    lines.lastIndex = at;
    const count = Number(lines.exec(text)?.[1] ?? 0);
    if (count === 0) return;
    at = lines.lastIndex;
    for (let i = 0; i < count; i += 1) {
      const head = /\$(\d+)\r\n/y;
      head.lastIndex = at;
      const length = Number(head.exec(text)?.[1] ?? 0);
      parts.push(text.slice(head.lastIndex, head.lastIndex + length));
      at = head.lastIndex + length + 2;
    }
    yield parts;
  }
}
