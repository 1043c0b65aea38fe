import type { Collection } from "mongodb";
import type { EntryRow } from "./streams.ts";
import type { RowPiece } from "./rows.ts";
import { insertAll, type Stored } from "./table.ts";

/**
 * Counts the changes of what is stored and how, a newer one than this is not touched. A unique key that is added or
 * dropped is such a change: an older node drops at its start the indexes that it does not know.
 */
const LAYOUT = 1;

interface LayoutRow extends Stored {
  readonly version: number;
}

export interface LayoutTables {
  readonly meta: Collection<LayoutRow>;
  readonly entries: Collection<EntryRow>;
  readonly pieces: Collection<RowPiece>;
}

/**
 * Marks an empty database as ours and makes the indexes. Safe when several nodes start at once: the mark is an insert
 * that one of them wins, and all read what it says before they make anything.
 */
export async function ensureLayout({ meta, entries, pieces }: LayoutTables): Promise<void> {
  if ((await meta.findOne({ _id: "layout" })) === null)
    await insertAll(meta, [{ _id: "layout", version: LAYOUT }]);
  const mark = await meta.findOne({ _id: "layout" });
  const version: unknown = mark?.version;
  if (typeof version !== "number") {
    throw new Error(
      "the database's mark of its layout is damaged; restore a backup, or name another database",
    );
  }
  if (version > LAYOUT) {
    throw new Error(
      `the data was written by a newer version of Scriptorium (layout ${version}, this one knows ${LAYOUT}); ` +
        "start that version, or restore a backup from before the upgrade",
    );
  }
  await entries.createIndex(
    { op: 1 },
    { name: "op", unique: true, partialFilterExpression: { op: { $exists: true } } },
  );
  await pieces.createIndex({ row: 1 }, { name: "row" });
}
