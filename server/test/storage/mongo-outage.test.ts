import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Failure, newId } from "@scriptorium/shared";
import { openMongoWay, type MongoWay } from "../support/mongo-way.ts";
import { NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { until } from "../support/site.ts";
import { openMongo, type MongoLimits } from "../../src/storage/adapters/mongo/open.ts";
import type { Store } from "../../src/storage/store.ts";
import { SILENT } from "./temporary-store.ts";

const CUTS = 4;
const MB = 1024 * 1024;

/** A store whose way to the server can be broken. */
async function withStore(
  limits: Partial<MongoLimits>,
  work: (store: Store, way: MongoWay) => Promise<void>,
): Promise<void> {
  const way = await openMongoWay();
  try {
    const store = await openMongo({ url: way.url, log: SILENT, limits });
    await work(store, way);
    await store.close();
  } finally {
    await way.close();
  }
}

/** `try_later` is all that an outage may be called. */
async function works(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    assert.ok(error instanceof Failure && error.code === "try_later", String(error));
    return false;
  }
}

describe("a way to MongoDB that breaks", { skip: NO_MONGO }, () => {
  after(stopSharedMongo);

  it(`is found again after each of ${CUTS} cuts in the middle of a read`, async () => {
    await withStore({ selectMs: 250 }, async ({ streams }, { cut, hold, heal }) => {
      const head = () => streams.head("s");
      for (let cuts = 0; cuts <= CUTS; cuts += 1) {
        await until(() => works(head), `it works after ${cuts} cuts`);
        // The read is on its way on one connection; that of the driver's monitor is idle. Both end in the same instant.
        hold();
        const reading = works(head);
        await delay(20);
        cut();
        await reading;
        heal();
      }
    });
  });

  it("gives its connections back when large writes were held on it", async () => {
    const limits = { connections: 1, socketMs: 500, operationMs: 3_000, selectMs: 500 };
    await withStore(limits, async (store, { hold, heal }) => {
      const { documents, streams } = store;
      await streams.append("s", { at: 1, entry: {} });
      hold();
      // More than the buffers between here and there take.
      const large = { document: newId(), epoch: 1, node: "n", at: 1, by: "", update: new Uint8Array(7 * MB) };
      const rows = [1, 2, 3].map((seq) => ({ ...large, seq }));
      assert.equal(await works(() => documents.appendRows(rows)), false);
      heal();
      await until(() => store.stats().queuedBytes === 0, "nothing is under way any more");
      await until(() => works(() => streams.head("s")), "its only connection is free");
    });
  });
});
