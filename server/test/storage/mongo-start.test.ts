import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, describe, it } from "node:test";
import { inspect } from "node:util";
import { MongoClient } from "mongodb";
import { openMongo } from "../../src/storage/adapters/mongo/open.ts";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { SILENT } from "./temporary-store.ts";

const LIMITS = { selectMs: 500, connectMs: 500, socketMs: 500 };

async function refusal(url: string): Promise<Error> {
  const [outcome] = await Promise.allSettled([openMongo({ url, log: SILENT, limits: LIMITS })]);
  if (outcome.status === "fulfilled") await outcome.value.close();
  assert.ok(outcome.status === "rejected" && outcome.reason instanceof Error, "it opened");
  return outcome.reason;
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
      // With its causes, as a debug log would show it.
      assert.ok(!/s3cret|bertha/.test(inspect(error, { depth: 9 })), inspect(error, { depth: 9 }));
    });
  }

  it("is refused within seconds when something listens there and says nothing", async (t) => {
    const silent = createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
    await once(silent, "listening");
    t.after(() => silent.close());
    const address = silent.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const startedAt = performance.now();
    const { message } = await refusal(`mongodb://127.0.0.1:${port}/x`);
    assert.match(message, new RegExp(`^no MongoDB server answers at 127.0.0.1:${port}`));
    assert.ok(performance.now() - startedAt < 10_000);
  });
});

describe("the first start", { skip: NO_MONGO }, () => {
  after(stopSharedMongo);

  it("may be that of several nodes at once, which agree", async (t) => {
    const { url, drop } = await freshDatabase();
    t.after(drop);
    const stores = await Promise.all(Array.from({ length: 5 }, () => openMongo({ url, log: SILENT })));
    t.after(() => Promise.all(stores.map((store) => store.close())));
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

  it("refuses data of a newer version and leaves it as it was", async (t) => {
    const { url, drop } = await freshDatabase();
    const client = new MongoClient(url);
    t.after(async () => {
      await client.close();
      await drop();
    });
    const meta = client.db().collection<{ _id: string; version: number }>("meta");
    await meta.insertOne({ _id: "layout", version: 99 });
    assert.match(
      (await refusal(url)).message,
      /newer version of Scriptorium \(layout 99, this one knows 1\)/,
    );
    const names = (await client.db().listCollections().toArray()).map(({ name }) => name);
    assert.deepEqual(names, ["meta"]);
    assert.deepEqual(await meta.find().toArray(), [{ _id: "layout", version: 99 }]);
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
