import { freshDatabase } from "./mongo.ts";
import { startProxy } from "./proxy.ts";

/** A way to a database that nobody else uses, which can be broken for all who take it. */
export interface MongoWay {
  readonly url: string;
  /** Nothing passes, and every connection ends. */
  readonly cut: () => void;
  /** Nothing passes, and every connection stays. */
  readonly hold: () => void;
  readonly heal: () => void;
  /** Removes the database as well. */
  readonly close: () => Promise<void>;
}

export async function openMongoWay(): Promise<MongoWay> {
  const { url, drop } = await freshDatabase();
  const proxy = await startProxy();
  const address = new URL(url);
  const port = Number(address.port);
  address.port = new URL(proxy.wsUrl).port;
  // A replica set would name its members, past the proxy.
  address.searchParams.set("directConnection", "true");
  proxy.open(port);
  return {
    url: address.href,
    cut: () => proxy.shut(),
    hold: () => proxy.stall(),
    heal: () => {
      proxy.open(port);
      proxy.flow();
    },
    close: async () => {
      await proxy.stop();
      await drop();
    },
  };
}
