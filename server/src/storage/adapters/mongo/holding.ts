import type { Log } from "@scriptorium/collab";
import type { Holding, Target } from "../../archive.ts";
import { openMongoArchive } from "./archive.ts";
import { connect } from "./connect.ts";
import { MONGO_LIMITS, openMongo, type MongoLimits, type MongoOptions } from "./open.ts";
import { openTables } from "./table.ts";
import { claimDatabase, type Claim } from "./unfinished.ts";

/** Nobody waits for a keystroke here, and one answer may be the first of a million. */
const PATIENT: Partial<MongoLimits> = { socketMs: 120_000, replicationMs: 60_000, operationMs: 180_000 };

export interface HoldingOptions {
  readonly url: string;
  readonly log: Log;
}

/** An installation on MongoDB, to be read while servers work on it. */
export async function openMongoHolding(options: HoldingOptions): Promise<Holding> {
  const limits = { ...MONGO_LIMITS, ...PATIENT };
  const { client, db } = await connect(options.url, limits);
  const layout = await db.collection("meta").findOne({}, { projection: { _id: 1 } });
  const { databaseName } = db;
  await client.close();
  if (layout === null) throw new Error(`database ${databaseName} holds no installation`);
  return hold({ ...options, limits });
}

/** An empty database, or what an earlier attempt with the same claim has left of one. */
export async function openMongoTarget(options: HoldingOptions & { readonly claim: Claim }): Promise<Target> {
  const limits = { ...MONGO_LIMITS, ...PATIENT };
  const { client, db, replicated } = await connect(options.url, limits);
  try {
    const table = openTables(db, { replicated, replicationMs: limits.replicationMs });
    const { release } = await claimDatabase(db, table, options.claim);
    const holding = await hold({ ...options, limits, unfinished: "allowed" });
    const close = async (): Promise<void> => {
      await holding.close();
      await client.close();
    };
    return {
      ...holding,
      close,
      async finish() {
        await release();
        await close();
      },
    };
  } catch (error) {
    await client.close();
    throw error;
  }
}

async function hold(options: MongoOptions): Promise<Holding> {
  const store = await openMongo(options);
  try {
    const { archive, close } = await openMongoArchive({ ...options, store });
    return {
      store,
      archive,
      async close() {
        await close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}
