import { Database } from "@hocuspocus/extension-database";
import { Redis } from "@hocuspocus/extension-redis";
import { Server } from "@hocuspocus/server";
import { Binary, MongoClient } from "mongodb";

/**
 * One node of stock Hocuspocus: its own Server with its Redis and Database extensions, all with their defaults (debounce
 * 2 s, at most 10 s). What the Database extension hands over, the whole encoded document, goes to the MongoDB-protocol
 * server.
 */

interface StoredDocument {
  readonly _id: string;
  readonly data: Binary;
}

const { MONGODB_URL = "", REDIS_PORT = "" } = process.env;
const mongo = new MongoClient(MONGODB_URL);
const documents = mongo.db().collection<StoredDocument>("documents");
let writes = 0;

const server = new Server({
  port: 0,
  address: "127.0.0.1",
  quiet: true,
  extensions: [
    new Redis({ host: "127.0.0.1", port: Number(REDIS_PORT) }),
    new Database({
      fetch: async ({ documentName }) => {
        const found = await documents.findOne({ _id: documentName });
        return found === null ? null : found.data.value();
      },
      store: async ({ documentName, state }) => {
        writes += 1;
        const change = { $set: { data: new Binary(state) } };
        await documents.updateOne({ _id: documentName }, change, { upsert: true });
      },
    }),
  ],
});
await server.listen();
process.on("message", () => process.send?.(writes));
console.log(`ready at ${server.address.port}`);
