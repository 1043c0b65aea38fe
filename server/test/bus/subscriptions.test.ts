import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Subscription } from "@scriptorium/shared";
import fc from "fast-check";
import { createSubscriptions, type Subscriptions } from "../../src/bus/subscriptions.ts";

/** A connection that confirms when it is told to, in the order in which it was asked, as Redis does. */
function createConnection() {
  const asked: { command: string; channels: readonly string[]; confirm: (done: boolean) => void }[] = [];
  const there = new Set<string>();
  return {
    there,
    asked,
    send: (command: "subscribe" | "unsubscribe", channels: readonly string[]) =>
      new Promise<boolean>((resolve) => {
        asked.push({
          command,
          channels,
          confirm: (done) => {
            for (const channel of done ? channels : [])
              there[command === "subscribe" ? "add" : "delete"](channel);
            resolve(done);
          },
        });
      }),
    take: () => asked.splice(0),
    async answer(done = true) {
      for (const { confirm } of asked.splice(0)) confirm(done);
      await turn();
    },
    async lose(table: Subscriptions) {
      const lost = asked.splice(0);
      there.clear();
      table.disconnected();
      for (const { confirm } of lost) confirm(false);
      await turn();
    },
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the subscriptions of the bus", () => {
  function create(channelsPerCommand = 3) {
    const connection = createConnection();
    let settled = 0;
    const table = createSubscriptions({
      send: connection.send,
      whenSettled: () => (settled += 1),
      whenThrown: (error) => assert.fail(String(error)),
      channelsPerCommand,
    });
    return { table, connection, settled: () => settled };
  }
  const names = (count: number) => Array.from({ length: count }, (_, i) => `c${i}`);
  const ignore = () => undefined;

  it("asks for the channels of a turn together, a bounded number in a command", async () => {
    const { table, connection, settled } = create();
    table.connected();
    for (const name of names(7)) table.add(name, ignore, true);
    table.add("c0", ignore, true);
    assert.equal(connection.asked.length, 0);
    await turn();
    assert.deepEqual(
      connection.asked.map(({ command, channels }) => [command, channels]),
      [
        ["subscribe", ["c0", "c1", "c2"]],
        ["subscribe", ["c3", "c4", "c5"]],
        ["subscribe", ["c6"]],
      ],
    );
    const before = settled();
    assert.equal(table.unconfirmed, 7);
    await connection.answer();
    assert.equal(table.unconfirmed, 0);
    assert.equal(settled(), before + 1);
  });

  it("asks for nothing when a channel is ended and wanted again within the turn", async () => {
    const { table, connection } = create();
    table.connected();
    const first = table.add("c", ignore, true);
    await turn();
    await connection.answer();
    first.end();
    assert.equal(await table.add("c", ignore, true).active, true, "it never was unsubscribed");
    await turn();
    assert.deepEqual(connection.asked, []);
    table.add("d", ignore, true).end();
    await turn();
    assert.deepEqual(connection.asked, [], "nobody wants it any more");
  });

  it("does not take the answer to an earlier command for that of the last", async () => {
    const { table, connection } = create();
    table.connected();
    const first = table.add("c", ignore, true);
    await turn();
    first.end();
    await turn();
    const again = table.add("c", ignore, true);
    await turn();
    assert.deepEqual(
      connection.asked.map(({ command }) => command),
      ["subscribe", "unsubscribe", "subscribe"],
    );
    let active: boolean | undefined;
    void again.active.then((answer) => (active = answer));
    const [subscribed, unsubscribed, last] = connection.take();
    subscribed?.confirm(true);
    unsubscribed?.confirm(true);
    await turn();
    assert.equal(active, undefined, "it was unsubscribed after that");
    assert.equal(table.unconfirmed, 1);
    last?.confirm(true);
    await turn();
    assert.equal(active, true);
    assert.equal(await first.active, false);
  });

  it("subscribes all again on a new connection, those that came meanwhile too, and is settled only then", async () => {
    const { table, connection, settled } = create(100);
    table.connected();
    const kept = names(4).map((name) => table.add(name, ignore, true));
    await turn();
    await connection.answer();
    await connection.lose(table);
    const before = settled();
    kept[0]?.end();
    const meanwhile = table.add("late", ignore, false);
    assert.equal(await meanwhile.active, false);
    await turn();
    assert.deepEqual(connection.asked, [], "there is no connection to ask");
    table.connected();
    table.add("later", ignore, false);
    await turn();
    assert.equal(table.unconfirmed, 5);
    const [first, second] = connection.take();
    first?.confirm(true);
    await turn();
    assert.equal(settled(), before);
    second?.confirm(true);
    await turn();
    assert.equal(settled(), before + 1);
    assert.deepEqual([...connection.there].toSorted(), ["c1", "c2", "c3", "late", "later"]);
  });

  it("answers false to whoever waits when it is given up, and stays subscribed", async () => {
    const { table, connection } = create();
    table.connected();
    const { active } = table.add("c", ignore, true);
    table.giveUp();
    assert.equal(await active, false);
    await turn();
    await connection.answer();
    assert.deepEqual([...connection.there], ["c"]);
  });

  it("delivers to those that listened when the message came", () => {
    const { table } = create();
    const heard: string[] = [];
    table.add(
      "c",
      () => {
        heard.push("first");
        second.end();
        table.add("c", () => void heard.push("added"), true);
      },
      true,
    );
    const second = table.add("c", () => void heard.push("second"), true);
    table.deliver("c", Buffer.of());
    assert.deepEqual(heard, ["first"]);
    table.deliver("c", Buffer.of());
    assert.deepEqual(heard, ["first", "first", "added"]);
    assert.deepEqual([table.wants("c"), table.wants("d")], [true, false]);
  });

  it("ends up subscribed to exactly what is listened to, and answers everybody, under any sequence of events", async () => {
    const kinds = ["add", "end", "turn", "answer", "lose", "connect"] as const;
    const step = fc.record({
      kind: fc.constantFrom(...kinds, "add" as const, "end" as const, "turn" as const),
      channel: fc.constantFrom("c0", "c1", "c2", "c3"),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { table, connection } = create();
        const live: { channel: string; subscription: Subscription }[] = [];
        const answers: Promise<boolean>[] = [];
        let connected = false;
        const take = {
          add: async (channel: string) => {
            const subscription = table.add(channel, ignore, connected);
            answers.push(subscription.active);
            live.push({ channel, subscription });
          },
          end: async (channel: string) => {
            const at = live.findIndex((one) => one.channel === channel);
            if (at >= 0) live.splice(at, 1)[0]?.subscription.end();
          },
          turn,
          answer: () => connection.answer(),
          lose: async () => {
            if (!connected) return;
            connected = false;
            await connection.lose(table);
            table.giveUp();
          },
          connect: async () => {
            if (!connected) table.connected();
            connected = true;
          },
        };
        for (const { kind, channel } of steps) await take[kind](channel);
        if (!connected) table.connected();
        await turn();
        await connection.answer();
        assert.equal(table.unconfirmed, 0);
        const wanted = new Set(live.map(({ channel }) => channel));
        assert.deepEqual([...connection.there].toSorted(), [...wanted].toSorted());
        await Promise.all(answers);
      }),
      { numRuns: 200 },
    );
  });
});
