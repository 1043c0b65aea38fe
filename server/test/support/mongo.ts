import { newDatabase, startMongo, type Database, type MongoServer } from "../../src/testing/mongo.ts";

export { startMongo, type MongoServer } from "../../src/testing/mongo.ts";

/** A MongoDB, or a server that speaks its protocol, for the tests of one file. */

const { MONGODB_URL, MONGO_SERVER } = process.env;
/** Why tests on any MongoDB are skipped; false when they are not. */
export const NO_MONGO =
  MONGODB_URL === undefined && MONGO_SERVER === undefined
    ? "neither MONGODB_URL (a server that runs) nor MONGO_SERVER (a command that runs one) is set"
    : false;
/** Why tests that kill the server are skipped; false when they are not. */
export const NO_MONGO_COMMAND =
  MONGO_SERVER === undefined
    ? "MONGO_SERVER, a command that runs a MongoDB-protocol server, is not set"
    : false;

/** The server of this test file: the one that runs, or one started at the first use. */
let shared: Promise<MongoServer> | undefined;

/** The address of a database that nobody else uses; `drop` removes it. */
export async function freshDatabase(): Promise<Database> {
  if (MONGODB_URL === undefined) shared ??= startMongo();
  return newDatabase(MONGODB_URL ?? (await shared)?.url ?? "");
}

/** To be called when the file's tests have ended. */
export async function stopSharedMongo(): Promise<void> {
  await (await shared)?.stop();
}
