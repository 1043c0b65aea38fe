import { openMongo, type MongoLimits } from "../../src/storage/adapters/mongo/open.ts";
import type { Store } from "../../src/storage/store.ts";
import { freshDatabase } from "../support/mongo.ts";
import { SILENT } from "./temporary-store.ts";

/** A MongoDB store in a database of its own; `close` leaves nothing behind. */
export async function openTemporaryMongo(limits: Partial<MongoLimits> = {}): Promise<{
  readonly url: string;
  readonly store: Store;
  readonly close: () => Promise<void>;
}> {
  const { url, drop } = await freshDatabase();
  const store = await openMongo({ url, log: SILENT, limits });
  return {
    url,
    store,
    async close() {
      await store.close();
      await drop();
    },
  };
}
