import { newId } from "@scriptorium/shared";
import type { Collection, Db } from "mongodb";
import { insertAll, type OpenTable, type Stored } from "./table.ts";

/** What a database is being filled from. */
export interface Claim {
  readonly by: "move" | "restore";
  /** The same for every attempt at the same thing. */
  readonly source: string;
}

interface Mark extends Stored, Claim {
  /** Of the attempt that holds the mark. */
  readonly run: string;
  readonly at: string;
}

const MARK = "unfinished";

/** A database that is half filled looks like an installation that has lost the other half. */
export async function refuseUnfinished(meta: Collection<Mark>): Promise<void> {
  const mark = await meta.findOne({ _id: MARK });
  if (mark === null) return;
  throw new Error(
    `this database is being filled by "npm run admin -- ${mark.by}" since ${mark.at} and not finished; run that again`,
  );
}

/**
 * Marks an empty database as being filled, or takes over what an earlier attempt at the same thing has left, which is
 * removed. Anything else is refused and stays as it is. `release` takes the mark away.
 */
export async function claimDatabase(
  db: Db,
  table: OpenTable,
  claim: Claim,
): Promise<{ readonly release: () => Promise<void> }> {
  const meta = table<Mark>("meta");
  const mine: Mark = { _id: MARK, ...claim, run: newId(), at: new Date().toISOString() };
  const found = await meta.findOne({ _id: MARK });
  if (found === null) await markEmpty(db, meta, mine);
  else await takeOver(db, meta, { found, mine });
  return {
    async release() {
      const { deletedCount } = await meta.deleteOne({ _id: MARK, run: mine.run });
      if (deletedCount !== 1) throw new Error("another run is filling this database; it is not finished");
    },
  };
}

async function markEmpty(db: Db, meta: Collection<Mark>, mine: Mark): Promise<void> {
  await demandEmpty(db);
  if ((await insertAll(meta, [mine])).length > 0) throw new Error("another run is filling this database");
  try {
    // A server that had not seen the mark may have started in between.
    await demandEmpty(db);
  } catch (error) {
    await meta.deleteOne({ _id: MARK, run: mine.run });
    throw error;
  }
}

async function takeOver(
  db: Db,
  meta: Collection<Mark>,
  { found, mine }: { found: Mark; mine: Mark },
): Promise<void> {
  if (found.by !== mine.by || found.source !== mine.source) {
    throw new Error(
      `this database is being filled by another ${found.by}, begun at ${found.at}; finish that one, or use an empty database`,
    );
  }
  const { matchedCount } = await meta.replaceOne({ _id: MARK, run: found.run }, mine);
  if (matchedCount !== 1) throw new Error("another run is filling this database");
  for (const name of await namesIn(db)) if (name !== "meta") await db.collection(name).drop();
}

/** The layout's own mark does not count: whoever was refused here before may have left it. */
async function demandEmpty(db: Db): Promise<void> {
  const full: string[] = [];
  for (const name of await namesIn(db)) {
    const ours = name === "meta" ? ["layout", MARK] : [];
    const any = await db.collection<Stored>(name).findOne({ _id: { $nin: ours } });
    if (any !== null) full.push(name);
  }
  if (full.length > 0)
    throw new Error(
      `database ${db.databaseName} is not empty, it holds ${full.join(", ")}; name an empty database`,
    );
}

async function namesIn(db: Db): Promise<string[]> {
  const all = await db.listCollections({}, { nameOnly: true }).toArray();
  return all.map(({ name }) => name).filter((name) => !name.startsWith("system."));
}
