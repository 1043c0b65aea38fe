import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { getServers, setServers } from "node:dns";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { after, describe, it } from "node:test";
import { inspect } from "node:util";
import { newId } from "@scriptorium/shared";
import { BSON, MongoClient, type Db } from "mongodb";
import { openMongo } from "../../src/storage/adapters/mongo/open.ts";
import { WHOLE_BYTES } from "../../src/storage/adapters/mongo/rows.ts";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { SILENT } from "./temporary-store.ts";

const LIMITS = { selectMs: 500, connectMs: 500, socketMs: 500, startMs: 1_000 };
/** The head of a message of the protocol that is as long as can be. */
const LONG_MESSAGE = Buffer.from([0xff, 0xff, 0xff, 0x7f, ...Array.from({ length: 28 }, () => 1)]);

async function refusal(url: string): Promise<Error> {
  const [outcome] = await Promise.allSettled([openMongo({ url, log: SILENT, limits: LIMITS })]);
  if (outcome.status === "fulfilled") await outcome.value.close();
  assert.ok(outcome.status === "rejected" && outcome.reason instanceof Error, "it opened");
  return outcome.reason;
}

/** Every document, by a digest, and every index. */
async function everythingIn(db: Db): Promise<Record<string, unknown>> {
  const names = (await db.listCollections().toArray()).map(({ name }) => name).toSorted();
  const entries = names.map(async (name) => {
    const documents = await db.collection(name).find().sort({ _id: 1 }).toArray();
    const digest = createHash("sha256").update(BSON.serialize({ documents })).digest("hex");
    const indexes = await db.collection(name).listIndexes().toArray();
    return [name, { count: documents.length, digest, indexes }];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** With its causes, as a debug log would show it. */
function assertNoSecret(error: Error): void {
  assert.ok(!/s3cret|bertha/.test(inspect(error, { depth: 9 })), inspect(error, { depth: 9 }));
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe("an address that is of no use", () => {
  for (const [url, says] of [
    [
      "mongodb://bertha:s3cret%21@127.0.0.1:1/x",
      /^no MongoDB server answers at 127\.0\.0\.1:1 \(.*ECONNREFUSED/,
    ],
    [
      "mongodb://bertha:s3cret%21@no-such-host.invalid/x",
      /^no MongoDB server answers at no-such-host\.invalid/,
    ],
    ["mongodb+srv://bertha:s3cret%21@no-such-host.invalid/x", /^no MongoDB server answers at .*no-such-host/],
    ["mongodb://bertha:s3cret@!@127.0.0.1:1/x", /^is not a MongoDB address/],
    ["mongodb://bertha:s3cret%21@127.0.0.1:1/x?speed=11", /^is not .*: option speed is not supported$/],
    ["mongodb://", /^is not a MongoDB address/],
  ] as const) {
    it(`is refused in words that show no secret: ${url}`, async () => {
      const error = await refusal(url);
      assert.match(error.message, says);
      assertNoSecret(error);
    });
  }

  for (const [what, answer, options, says] of [
    ["says nothing", (socket) => socket.resume(), "", /127\.0\.0\.1:\d+; is it running/],
    ["hangs up", (socket) => socket.end(), "", /closed\); is it running/],
    ["speaks HTTP", (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"), "", /is it running/],
    ["speaks something else", (socket) => socket.write("-ERR unknown command\r\n"), "", /is it running/],
    ["promises 2 GB", (socket) => socket.write(LONG_MESSAGE), "", /is it running/],
    [
      "does not speak TLS",
      (socket) => socket.end("HTTP/1.1 400\r\n\r\n"),
      "?tls=true",
      /\(TLS: wrong version/,
    ],
  ] satisfies [string, (socket: Socket) => unknown, string, RegExp][]) {
    it(`is refused in one line within seconds when something listens there that ${what}`, async (t) => {
      const server = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.once("data", () => answer(socket));
      }).listen(0, "127.0.0.1");
      await once(server, "listening");
      t.after(() => server.close());
      const error = await refusal(`mongodb://bertha:s3cret%21@127.0.0.1:${portOf(server)}/x${options}`);
      assertNoSecret(error);
      assert.match(error.message, /^no MongoDB server answers at 127\.0\.0\.1:\d+[^\n]*$/);
      assert.match(error.message, says);
    });
  }

  it("is refused within seconds when no name server says who it is", async (t) => {
    const nobody = createSocket("udp4").bind(0, "127.0.0.1");
    await once(nobody, "listening");
    const servers = getServers();
    t.after(() => {
      setServers(servers);
      nobody.close();
    });
    setServers([`127.0.0.1:${nobody.address().port}`]);
    const error = await refusal("mongodb+srv://bertha:s3cret%21@cluster.example.com/x");
    assertNoSecret(error);
    assert.match(
      error.message,
      /^no MongoDB server answers at cluster\.example\.com \(nothing for 1000 ms\)/,
    );
  });
});

describe("the first start", { skip: NO_MONGO }, () => {
  after(stopSharedMongo);

  it("may be that of several nodes at once, which agree", async (t) => {
    const { url, drop } = await freshDatabase();
    t.after(drop);
    const opened = await Promise.allSettled(Array.from({ length: 5 }, () => openMongo({ url, log: SILENT })));
    const stores = opened.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
    t.after(() => Promise.all(stores.map((store) => store.close())));
    assert.equal(stores.length, opened.length, inspect(opened));
    const outcomes = await Promise.all(
      stores.map(({ open }, i) =>
        open<{ id: string; slug: string }>({
          name: "papers",
          unique: [["slug"]],
          indexes: [["slug"]],
        }).insert({
          id: String(i),
          slug: "same",
        }),
      ),
    );
    assert.equal(outcomes.filter((outcome) => outcome === "ok").length, 1, "the unique key holds for all");
  });

  for (const [what, mark, says] of [
    ["of a newer version", { version: 99 }, /newer version of Scriptorium \(layout 99, this one knows 1\)/],
    ["with a damaged mark", {}, /mark of its layout is damaged/],
  ] as const) {
    it(`refuses data ${what} and leaves it as it was`, async (t) => {
      const { url, drop } = await freshDatabase();
      const client = new MongoClient(url);
      t.after(async () => {
        await client.close();
        await drop();
      });
      const store = await openMongo({ url, log: SILENT });
      const document = newId();
      const row = { document, epoch: 1, node: "n", seq: 1, at: 1, by: "ada", update: new Uint8Array(9) };
      await store.documents.appendRows([row, { ...row, seq: 2, update: new Uint8Array(WHOLE_BYTES + 1) }]);
      await store.documents.putPart({ document, id: "p", body: new Uint8Array(9) });
      for (const at of [1, 2]) await store.streams.append("s", { at, entry: {} });
      await store.streams.trim("s", 2);
      await store.open({ name: "papers", unique: [["slug"]], indexes: [] }).insert({ id: "p" });
      await store.close();
      const db = client.db();
      const meta = db.collection<{ _id: string }>("meta");
      await meta.replaceOne({ _id: "layout" }, mark);
      // What a newer version may have besides, and not have any more: this one would drop it, and make it.
      for (const name of ["entries", "row_pieces"]) await db.collection(name).dropIndexes();
      await db.collection("doc_papers").createIndex({ future: 1 }, { unique: true, name: "unique_future" });
      const before = await everythingIn(db);
      assert.ok(Object.keys(before).length >= 8, "every collection is there");
      assert.match((await refusal(url)).message, says);
      assert.deepEqual(await everythingIn(db), before);
    });
  }

  it("says at the start when the clock here is not that of the server, and by how much", async () => {
    const { url, drop } = await freshDatabase();
    const warned: object[] = [];
    const log = { ...SILENT, warn: (fields: object) => void warned.push(fields) };
    const openAt = async (aheadMs: number) =>
      (await openMongo({ url, log, limits: LIMITS, now: () => Date.now() + aheadMs })).close();
    await openAt(0);
    assert.deepEqual(warned, []);
    await openAt(-3_600_000);
    const [told = {}] = warned;
    const aheadMs = "aheadMs" in told ? Number(told.aheadMs) : 0;
    assert.ok(Math.abs(aheadMs + 3_600_000) < 60_000, String(aheadMs));
    await drop();
  });

  it("keeps what is there across a close, and refuses work after it", async (t) => {
    const { url, drop } = await freshDatabase();
    t.after(drop);
    const first = await openMongo({ url, log: SILENT });
    const pending = first.streams.append("s", { at: 1, entry: { n: 1 }, op: "a" });
    await first.close();
    assert.equal(await pending, "ok", "what was accepted is finished");
    await assert.rejects(first.streams.head("s"), { code: "restarting" });
    const second = await openMongo({ url, log: SILENT });
    t.after(() => second.close());
    assert.deepEqual(await second.streams.head("s"), { at: 1, entry: { n: 1 }, op: "a" });
  });
});
