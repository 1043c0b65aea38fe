import type { Log } from "@scriptorium/collab";
import type { Store } from "../../store.ts";
import { mongoCollections } from "./collections.ts";
import { connect, type ConnectLimits } from "./connect.ts";
import { createGate, type GateLimits } from "./gate.ts";
import { ensureLayout } from "./layout.ts";
import { mongoParts } from "./parts.ts";
import { mongoRows } from "./rows.ts";
import { mongoStreams } from "./streams.ts";
import { openTables } from "./table.ts";
import { refuseUnfinished } from "./unfinished.ts";

/** Every bound of the MongoDB store. */
export interface MongoLimits extends ConnectLimits, GateLimits {
  /** How long a write may wait for the majority of a replica set. */
  readonly replicationMs: number;
}

export const MONGO_LIMITS: MongoLimits = {
  connections: 20,
  selectMs: 3_000,
  connectMs: 3_000,
  socketMs: 8_000,
  // A server that is there and silent is found out before the first operation on it gives up.
  heartbeatMs: 3_000,
  // Every broken connection makes all operations wait for the next answer.
  recheckMs: 200,
  startMs: 15_000,
  replicationMs: 6_000,
  // Longer than any one of the above, shorter than the patience of who holds acknowledgements for it.
  operationMs: 10_000,
  queuedOperations: 10_000,
  // Twice what the collaboration room holds uncommitted before it turns documents read-only.
  queuedBytes: 128 * 1024 * 1024,
};

/** Nodes that are each so far off MongoDB's clock are within the minute's grace of a refresh token. */
const CLOCKS_APART_MS = 30_000;

export interface MongoOptions {
  /** `mongodb://` or `mongodb+srv://`; without a database in it, the one called scriptorium. */
  readonly url: string;
  readonly log: Log;
  readonly limits?: Partial<MongoLimits>;
  readonly now?: () => number;
  /** Opens a database that is being filled and must not be served yet. */
  readonly unfinished?: "allowed";
}

/**
 * The store on MongoDB: a standalone server, a replica set, or a server that speaks the protocol. Inserts decide what is
 * contended, every write can be repeated, and nothing needs a transaction. Rejects, in one line that an operator can
 * act on, when no server answers or when the data is from a newer version, which is untouched then.
 */
export async function openMongo(options: MongoOptions): Promise<Store> {
  const { url, log, now = Date.now } = options;
  const limits = { ...MONGO_LIMITS, ...options.limits };
  const { client, db, replicated, clock } = await connect(url, limits);
  const table = openTables(db, { replicated, replicationMs: limits.replicationMs });
  const gate = createGate(limits);
  try {
    if (options.unfinished !== "allowed") await refuseUnfinished(table("meta"));
    await ensureLayout({ meta: table("meta"), entries: table("entries"), pieces: table("row_pieces") });
  } catch (error) {
    await client.close();
    throw error;
  }
  log.info({ database: db.databaseName, replicated }, "the store is MongoDB");
  const aheadMs = clock === undefined ? 0 : now() - clock;
  if (Math.abs(aheadMs) > CLOCKS_APART_MS)
    log.warn(
      { aheadMs },
      "the clocks of this machine and of MongoDB's differ: what one node signs may have expired on another, so people are signed out; documents do not go by clocks",
    );

  const streams = mongoStreams({ gate, entries: table("entries"), floors: table("floors") });
  return {
    streams,
    documents: {
      heads: streams,
      ...mongoRows({ gate, rows: table("rows"), pieces: table("row_pieces") }),
      ...mongoParts({ gate, parts: table("parts"), chunks: table("chunks"), now }),
    },
    open: mongoCollections({ gate, table, log }),
    stats: () => gate.stats(),
    async close() {
      await gate.close();
      await client.close();
    },
  };
}
