import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { StreamEntry } from "@scriptorium/shared";
import { appendAll, specOf, type Archive } from "../../archive.ts";
import type { CollectionSpec } from "../../ports.ts";
import type { Store } from "../../store.ts";
import { tableOf } from "./collection-sql.ts";
import { decodeEntry } from "./entry-codec.ts";
import { DATABASE_FILE } from "./writer.ts";

/** The archive of an open store, with a connection of its own to read by; close it before the store. */
export function openSqliteArchive(
  dir: string,
  store: Pick<Store, "open" | "streams">,
): Archive & { close(): void } {
  const db = new DatabaseSync(join(dir, DATABASE_FILE), { readOnly: true, timeout: 5_000 });
  return {
    ...listings(db),

    async addDocs(spec, docs) {
      const collection = store.open(spec);
      await Promise.all(docs.map((doc) => collection.insert(doc)));
    },

    addStreams: (streams) => appendAll(store.streams, streams),

    close: () => db.close(),
  };
}

function listings(db: DatabaseSync): Omit<Archive, "addDocs" | "addStreams"> {
  return {
    collections: async () => collectionsIn(db),

    async *docs(collection) {
      const all = db.prepare(`SELECT body FROM ${tableOf(collection)} ORDER BY id`);
      for (const { body } of all.iterate()) yield JSON.parse(String(body));
    },

    streams: () => streamsIn(db),

    async *streamNames(prefix) {
      const names = db.prepare(`
        SELECT name FROM stream WHERE substr(name, 1, length(:prefix)) = :prefix
          AND EXISTS (SELECT 1 FROM entry WHERE entry.stream = stream.id)`);
      for (const { name } of names.iterate({ prefix })) yield String(name);
    },

    async *documents() {
      const names = db.prepare(`
        SELECT DISTINCT document AS name FROM lineage
        WHERE EXISTS (SELECT 1 FROM row WHERE row.lineage = lineage.id)`);
      for (const { name } of names.iterate()) yield String(name);
    },
  };
}

function collectionsIn(db: DatabaseSync): CollectionSpec[] {
  const prefix = tableOf("");
  const tables = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
    .all()
    .map(({ name }) => String(name))
    .filter((name) => name.startsWith(prefix));
  const indexes = db.prepare(
    "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
  );
  return tables
    .filter((table) => db.prepare(`SELECT 1 FROM ${table} LIMIT 1`).get() !== undefined)
    .map((table) => {
      const collection = table.slice(prefix.length);
      return specIn(
        collection,
        indexes.all(table).map(({ name }) => String(name)),
      );
    });
}

/** What collection-sql.ts names an index after; names of fields have no underscore. */
function specIn(collection: string, names: readonly string[]): CollectionSpec {
  const fields = (kind: "unique" | "plain"): string[][] => {
    const begin = `${tableOf(collection)}_${kind}_`;
    return names.filter((name) => name.startsWith(begin)).map((name) => name.slice(begin.length).split("_"));
  };
  return specOf(collection, { unique: fields("unique"), plain: fields("plain") });
}

async function* streamsIn(db: DatabaseSync): ReturnType<Archive["streams"]> {
  const rows = db
    .prepare("SELECT name, floor, at, op, body FROM entry JOIN stream ON id = stream ORDER BY stream, at")
    .iterate();
  let open: { readonly name: string; readonly floor: number; readonly entries: StreamEntry[] } | undefined;
  for (const { name, floor, at, op, body } of rows) {
    if (open?.name !== name) {
      if (open !== undefined) yield open;
      open = { name: String(name), floor: Number(floor), entries: [] };
    }
    if (!(body instanceof Uint8Array))
      throw new TypeError("the store holds something else where bytes belong");
    const entry = { at: Number(at), entry: decodeEntry(body) };
    open?.entries.push(typeof op === "string" ? { ...entry, op } : entry);
  }
  if (open !== undefined) yield open;
}
