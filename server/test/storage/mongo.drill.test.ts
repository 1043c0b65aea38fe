import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { Failure, newId } from "@scriptorium/shared";
import { openMongo } from "../../src/storage/adapters/mongo/open.ts";
import type { Store } from "../../src/storage/store.ts";
import { NO_MONGO_COMMAND, startMongo, type MongoServer } from "../support/mongo.ts";
import { until } from "../support/site.ts";
import { assertBooks, countOf, insist, startWriting } from "./store-crowd.ts";
import { SILENT } from "./temporary-store.ts";

const ROUNDS = 4;
const PATIENCE_MS = 60_000;

async function withServer(work: (server: MongoServer, store: Store) => Promise<void>): Promise<void> {
  const server = await startMongo();
  try {
    const store = await openMongo({ url: `${server.url}${newId()}`, log: SILENT });
    try {
      await work(server, store);
    } finally {
      await store.close();
    }
  } finally {
    await server.stop();
  }
}

describe("a MongoDB server that dies", { skip: NO_MONGO_COMMAND }, () => {
  it(`loses no acknowledged row and doubles none, ${ROUNDS} times kill -9 under writes`, async (t) => {
    await withServer(async (server, store) => {
      const crowd = startWriting([store, store]);
      const { rows } = crowd.books;
      for (let round = 0; round < ROUNDS; round += 1) {
        const { length } = rows;
        await until(() => rows.length > length + 60, "rows are acknowledged", PATIENCE_MS);
        const before = crowd.failures;
        await server.kill();
        await until(() => crowd.failures > before, "a write fails while there is no server", PATIENCE_MS);
        await server.restart();
      }
      const { length } = rows;
      await until(() => rows.length > length + 60, "it goes on by itself", PATIENCE_MS);
      await crowd.stop();
      await assertBooks(store, crowd.books);
      t.diagnostic(`${countOf(crowd.books)}; ${crowd.failures} times told to try later`);
    });
  });

  it("says try_later within seconds, also when it is there and silent, and is used again when it is back", async () => {
    await withServer(async (server, store) => {
      await store.streams.append("s", { at: 1, entry: {} });
      const papers = store.open<{ id: string }>({ name: "papers", unique: [], indexes: [] });
      await papers.insert({ id: "1" });
      for (const [stop, start] of [
        [() => server.kill(), () => server.restart()],
        [async () => server.pause(), async () => server.resume()],
      ] as const) {
        await stop();
        const startedAt = performance.now();
        const outcomes = await Promise.allSettled([
          store.streams.head("s"),
          store.streams.append("s", { at: 2, entry: {} }),
          store.documents.readRows("doc", 1),
          papers.insert({ id: "2" }),
        ]);
        const took = performance.now() - startedAt;
        await start();
        assert.ok(took < 20_000, `${took} ms`);
        for (const outcome of outcomes) {
          assert.ok(outcome.status === "rejected", outcome.status);
          assert.ok(outcome.reason instanceof Failure, inspect(outcome.reason));
          assert.equal(outcome.reason.code, "try_later");
        }
        assert.equal((await insist(() => store.streams.head("s")))?.entry !== undefined, true);
      }
    });
  });
});
