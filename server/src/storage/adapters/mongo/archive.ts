import type { Collection as Table, Db, FindCursor } from "mongodb";
import { specOf, type Archive, type StoredStream } from "../../archive.ts";
import type { CollectionSpec, OpenCollection } from "../../ports.ts";
import type { Store } from "../../store.ts";
import { toDoc, toFields, type Fields } from "./collections.ts";
import { connect } from "./connect.ts";
import { toFailure } from "./faults.ts";
import { below, lastNumber, namesOf, pathOf } from "./keys.ts";
import { MONGO_LIMITS, type MongoLimits } from "./open.ts";
import { toEntry, toRow, type EntryRow } from "./streams.ts";
import { insertAll, openTables, type OpenTable, type Stored } from "./table.ts";

interface ArchiveDeps {
  readonly db: Db;
  readonly table: OpenTable;
  readonly open: OpenCollection;
}

/** Documents that one answer of the server brings, and that one insert takes. */
const BATCH = 1_000;
/** Streams whose floors are asked for at once. */
const STREAMS = 200;
/** The prefix of a collection's table, see collections.ts. */
const PREFIX = "doc_";

export interface MongoArchiveOptions {
  readonly url: string;
  readonly store: Pick<Store, "open">;
  readonly limits?: Partial<MongoLimits>;
}

/** The archive of an open store, over a connection of its own. */
export async function openMongoArchive(
  options: MongoArchiveOptions,
): Promise<{ readonly archive: Archive; readonly close: () => Promise<void> }> {
  const limits = { ...MONGO_LIMITS, ...options.limits };
  const { client, db, replicated } = await connect(options.url, limits);
  const table = openTables(db, { replicated, replicationMs: limits.replicationMs });
  const archive = mongoArchive({ db, table, open: (spec) => options.store.open(spec) });
  return { archive, close: () => client.close() };
}

/** Everything is read by one cursor each, in the order of `_id`: to ask page by page would sort what is left each time. */
function mongoArchive({ db, table, open }: ArchiveDeps): Archive {
  const entries = table<EntryRow>("entries");
  const floors = table<Stored>("floors");
  const rows = table<Stored>("rows");

  return {
    collections: () => failing(collectionsIn(db)),

    async *docs(collection) {
      for await (const found of inOrder(table<Fields>(`${PREFIX}${collection}`).find())) yield toDoc(found);
    },

    async *streams() {
      for await (const read of batches(groups(inOrder(entries.find())))) yield* await toStreams(read, floors);
    },

    async *streamNames(prefix) {
      const begin = pathOf(prefix);
      const found = entries.find({ _id: { $gte: begin, $lt: `${begin}\u{10ffff}` } });
      yield* firstNames(inOrder(found.project<Stored>({ _id: 1 })));
    },

    async *documents() {
      yield* firstNames(inOrder(rows.find().project<Stored>({ _id: 1 })));
    },

    async addDocs(spec, docs) {
      // Its unique keys are there once it has been asked for anything.
      await open(spec).find({ where: {}, limit: 1 });
      const given = docs.map((doc) => ({ ...toFields(doc)[0], _id: doc.id }));
      await failing(insertAll(table<Fields>(`${PREFIX}${spec.name}`), given));
    },

    async addStreams(streams) {
      const given = streams.flatMap(({ name, entries: all }) =>
        all.map((entry) => toRow(pathOf(name), entry)),
      );
      const trimmed = streams
        .filter(({ floor }) => floor > 1)
        .map(({ name, floor }) => ({ _id: `${pathOf(name)}/${pathOf(floor)}` }));
      for (let at = 0; at < given.length; at += BATCH)
        await failing(insertAll(entries, given.slice(at, at + BATCH)));
      await failing(insertAll(floors, trimmed));
    },
  };
}

async function collectionsIn(db: Db): Promise<CollectionSpec[]> {
  const specs: CollectionSpec[] = [];
  const tables = await db.listCollections({}, { nameOnly: true }).toArray();
  for (const { name } of tables.filter((each) => each.name.startsWith(PREFIX))) {
    if ((await db.collection(name).findOne({}, { projection: { _id: 1 } })) === null) continue;
    const indexes = (await db.collection(name).listIndexes().toArray()).map((index) => String(index["name"]));
    // Named in collections.ts; names of fields have no underscore.
    const fields = (kind: string): string[][] =>
      indexes.filter((index) => index.startsWith(kind)).map((index) => index.slice(kind.length).split("_"));
    specs.push(specOf(name.slice(PREFIX.length), { unique: fields("unique_"), plain: fields("plain_") }));
  }
  return specs;
}

async function* inOrder<T extends Stored>(cursor: FindCursor<T>): AsyncGenerator<T> {
  try {
    yield* cursor.sort({ _id: 1 }).batchSize(BATCH);
  } catch (error) {
    throw toFailure(error);
  } finally {
    await cursor.close();
  }
}

/** The first names of the paths, each once. */
async function* firstNames(paths: AsyncIterable<Stored>): AsyncGenerator<string> {
  let last: string | undefined;
  for await (const { _id } of paths) {
    const [name = ""] = namesOf(_id);
    if (name !== last) yield name;
    last = name;
  }
}

interface Group {
  readonly stream: string;
  readonly rows: EntryRow[];
}

/** Entries of one stream follow one another. */
async function* groups(rows: AsyncIterable<EntryRow>): AsyncGenerator<Group> {
  let group: Group | undefined;
  for await (const row of rows) {
    const stream = row._id.slice(0, row._id.lastIndexOf("/"));
    if (group?.stream === stream) group.rows.push(row);
    else {
      if (group !== undefined) yield group;
      group = { stream, rows: [row] };
    }
  }
  if (group !== undefined) yield group;
}

async function* batches(all: AsyncIterable<Group>): AsyncGenerator<Group[]> {
  let batch: Group[] = [];
  let entries = 0;
  for await (const group of all) {
    batch.push(group);
    entries += group.rows.length;
    if (batch.length < STREAMS && entries < BATCH) continue;
    yield batch;
    batch = [];
    entries = 0;
  }
  yield batch;
}

/**
 * Floors are asked for when the entries are read, and may be ahead of them: the stream went on, and was trimmed beyond
 * what was read. Then the last that was read is the head that it had, and trimming never takes the head.
 */
async function toStreams(batch: readonly Group[], floors: Table<Stored>): Promise<StoredStream[]> {
  const [first, last] = [batch.at(0), batch.at(-1)];
  if (first === undefined || last === undefined) return [];
  const range = { $gte: `${first.stream}/`, $lt: below(last.stream).$lt };
  const highest = new Map<string, number>();
  for await (const { _id } of inOrder(floors.find({ _id: range })))
    highest.set(_id.slice(0, _id.lastIndexOf("/")), lastNumber(_id));
  return batch.map(({ stream, rows }) => {
    const floor = Math.min(highest.get(stream) ?? 1, lastNumber(rows.at(-1)?._id ?? ""));
    const entries = rows.filter(({ _id }) => lastNumber(_id) >= floor).map((row) => toEntry(stream, row));
    return { name: decodeURIComponent(stream), floor, entries };
  });
}

async function failing<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw toFailure(error);
  }
}
