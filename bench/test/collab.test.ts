import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { WebSocketServer } from "ws";
import * as Y from "yjs";
import { openFleet, sleep } from "../collab/generator/fleet.ts";
import { build } from "../collab/generator/material.ts";
import { createRoom } from "../collab/generator/room.ts";
import { createHistogram } from "../collab/measure/histogram.ts";
import { cpuSeconds, rssKb } from "../collab/measure/proc.ts";
import { median } from "../collab/measure/stats.ts";
import { stock } from "../collab/peers/stock.ts";
import { makeDirectory, removeDirectory } from "../collab/processes.ts";
import { ratios } from "../collab/report.ts";
import { OPCODE, clientFrame, createFrameReader } from "../collab/wire/frame.ts";
import { createWire } from "../collab/wire/protocol.ts";
import { openSocket } from "../collab/wire/socket.ts";
import { FIELD, createTyper, readRanges } from "../collab/wire/typing.ts";

function serverFrame(payload: Uint8Array): Buffer {
  const masked = clientFrame(OPCODE.binary, payload);
  const at = masked.length - payload.length;
  masked.writeUInt8(masked.readUInt8(1) & 0x7f, 1);
  return Buffer.concat([masked.subarray(0, at - 4), masked.subarray(at)]);
}

const textOf = (updates: readonly Uint8Array[]): string => {
  const doc = new Y.Doc();
  for (const update of updates) Y.applyUpdate(doc, update);
  return doc.getText(FIELD).toJSON();
};

describe("the generator's wire", () => {
  it("reads every frame size, whatever the chunks", () => {
    const payloads = [0, 1, 125, 126, 65_535, 65_536, 200_000].map((size) => Buffer.alloc(size, size % 251));
    const stream = Buffer.concat(payloads.map(serverFrame));
    for (const chunk of [1_000_000, 65_536, 1_000, 7]) {
      const read: Buffer[] = [];
      const push = createFrameReader((opcode, payload) => {
        assert.equal(opcode, OPCODE.binary);
        read.push(Buffer.from(payload));
      });
      for (let at = 0; at < stream.length; at += chunk) push(stream.subarray(at, at + chunk));
      assert.deepEqual(read, payloads);
    }
  });

  it("is understood by a real WebSocket server, pings included", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    const got = Promise.withResolvers<string>();
    const echoed = Promise.withResolvers<string>();
    try {
      server.on("connection", (socket) => {
        socket.on("message", (data) => socket.send(data));
        socket.on("pong", (data) => got.resolve(data.toString()));
        socket.ping("alive?");
      });
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("no port");
      const client = await openSocket({ host: "127.0.0.1", port: address.port }, "/", {
        onMessage: (payload) => echoed.resolve(payload.toString()),
        onClose: () => undefined,
      });
      client.send(Buffer.from("hello"));
      assert.equal(await echoed.promise, "hello");
      assert.equal(await got.promise, "alive?");
      client.close();
    } finally {
      server.close();
    }
  });

  it("types what Yjs reads as typing, and counts the letters of any mixture", () => {
    const typers = [createTyper(7), createTyper(4_000_000_000)];
    const updates = typers.flatMap((typer) => [0, 1, 2, 3].map((clock) => typer.update(clock)));
    assert.equal(textOf(updates), textOf(typers.map((typer) => typer.whole(4))));
    const expected = typers.map(({ client }) => ({ client, from: 0, size: 4 }));
    const byClient = (a: { client: number }, b: { client: number }): number => a.client - b.client;
    assert.deepEqual(readRanges(Y.mergeUpdates(updates)).toSorted(byClient), expected);
    const doc = new Y.Doc();
    for (const update of updates) Y.applyUpdate(doc, update);
    doc.getText(FIELD).delete(1, 2);
    assert.deepEqual(readRanges(Y.encodeStateAsUpdate(doc)).toSorted(byClient), expected);
  });
});

describe("the generator's counting", () => {
  const document = "notes:x";
  const counting = (): {
    room: ReturnType<typeof createRoom>;
    counters: { deliveries: number; farDeliveries: number };
  } => {
    const counters = { deliveries: 0, farDeliveries: 0, cursorDeliveries: 0 };
    const latency = createHistogram();
    return {
      room: createRoom({ protocol: "hocuspocus", document, latency, farLatency: latency, counters }),
      counters,
    };
  };
  const wire = createWire("hocuspocus", document);

  it("counts a merged frame for all it holds, and neither echoes nor repetitions", () => {
    const { room, counters } = counting();
    room.addWriter(1, 0);
    const author = room.addReader({ author: 1, node: 0, timed: true, sampled: true });
    const other = room.addReader({ author: undefined, node: 0, timed: true, sampled: true });
    const typer = createTyper(1);
    room.type(1, 0);
    room.type(1, 0);
    const merged = Buffer.from(wire.update(Y.mergeUpdates([typer.update(0), typer.update(1)])));
    room.receive(author, merged, 1);
    assert.equal(counters.deliveries, 0);
    room.receive(other, merged, 1);
    room.receive(other, merged, 1);
    assert.equal(counters.deliveries, 2);
    assert.equal(room.verdict().missing, 0);
    assert.equal(room.verdict().different, 0);
  });

  it("notices an update that never came, and counts what comes after a gap only when it is whole", () => {
    const { room, counters } = counting();
    room.addWriter(1, 0);
    const reader = room.addReader({ author: undefined, node: 0, timed: false, sampled: true });
    const [first, second] = [room.type(1, 0), room.type(1, 0)].map((message) => Buffer.from(message));
    if (first === undefined || second === undefined) throw new Error("nothing typed");
    room.receive(reader, second, 1);
    assert.equal(counters.deliveries, 0);
    assert.deepEqual([room.verdict().behind, room.verdict().missing, room.verdict().different], [1, 2, 1]);
    room.receive(reader, first, 1);
    room.receive(reader, second, 1);
    assert.equal(counters.deliveries, 2);
    assert.equal(room.settled(), true);
  });

  it("counts a client whose stream differs from the others' for itself", () => {
    const { room, counters } = counting();
    for (const author of [1, 2]) room.addWriter(author, 0);
    const [one, two] = [1, 2].map((author) =>
      room.addReader({ author, node: 0, timed: false, sampled: true }),
    );
    if (one === undefined || two === undefined) throw new Error("no readers");
    const a = Buffer.from(room.type(1, 0));
    const b = Buffer.from(room.type(2, 0));
    room.receive(one, b, 1);
    room.receive(two, a, 1);
    assert.equal(counters.deliveries, 2);
    assert.deepEqual([room.verdict().missing, room.verdict().different], [0, 0]);
  });
});

describe("the measuring", () => {
  it("reads this process and takes medians and percentiles", () => {
    assert.ok(cpuSeconds(process.pid) > 0);
    assert.ok(rssKb(process.pid) > 10_000);
    assert.equal(median([5, Number.NaN, 1, 3]), 3);
    assert.equal(median([1, 2]), 1.5);
    const histogram = createHistogram();
    for (let ms = 1; ms <= 100; ms += 1) histogram.add(ms);
    assert.ok(Math.abs(histogram.percentile(0.5) - 50) < 2);
    assert.ok(Math.abs(histogram.percentile(0.99) - 99) < 3);
  });

  it("compares round by round", () => {
    const rounds = { ours: [{ x: 1 }, { x: 4 }, null], stock: [{ x: 2 }, { x: 4 }, { x: 1 }] };
    const result = { scenario: "", cell: "", metrics: [], rounds, notes: [] };
    assert.equal(ratios(result, "x")[0]?.median, 0.75);
  });

  it("builds the same document every time", () => {
    const built = build({ kind: "edited", edits: 2_000, lettersLeft: 800 });
    assert.equal(textOf(built.updates).length, built.letters);
    assert.deepEqual(build({ kind: "edited", edits: 2_000, lettersLeft: 800 }).updates, built.updates);
  });
});

describe("a round against stock", () => {
  it("delivers everything to everybody and acks every update", async () => {
    const directory = makeDirectory();
    const server = await stock.start({ directory, store: false });
    try {
      const doors = await server.createDoors(2);
      const fleet = await openFleet({ doors, clientsPerDocument: 3, writersPerDocument: 2, seed: 1 });
      fleet.type({ updatesPerSecond: 50, cursorsPerSecond: 20 });
      await sleep(400);
      const verdict = await fleet.settle(2_000);
      const mark = fleet.mark({ servers: [server.pid] });
      fleet.close();
      assert.ok(verdict.sent > 20, `${verdict.sent} updates`);
      assert.equal(verdict.acks, verdict.sent);
      assert.deepEqual([verdict.missing, verdict.different, verdict.closed], [0, 0, 0]);
      assert.ok(verdict.replayed > 0);
      assert.equal(mark.deliveries, verdict.sent * 2);
      assert.ok(mark.p50Ms > 0 && mark.ackP50Ms > 0 && mark.serverCpuSeconds > 0);
      assert.ok(verdict.cursorsSeen > 0);
    } finally {
      await server.stop();
      removeDirectory(directory);
    }
  });
});
