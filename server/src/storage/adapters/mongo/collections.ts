import type { Log } from "@scriptorium/collab";
import type { Collection as Table, Filter, IndexDescription } from "mongodb";
import { checkCovered, checkSpec } from "../../collection-spec.ts";
import type { Collection, CollectionSpec, Doc, FindOptions, OpenCollection } from "../../ports.ts";
import { isDuplicate } from "./faults.ts";
import type { Gate } from "./gate.ts";
import { insertAll, type OpenTable, type Stored } from "./table.ts";

/** Scalars as they are, so that keys and patches work on them; whatever is nested as `{json}`, see toValue. */
export interface Fields extends Stored {
  readonly [field: string]: unknown;
}

export interface CollectionsDeps {
  readonly gate: Gate;
  readonly table: OpenTable;
  readonly log: Log;
}

/** The types that a unique key can hold. Null and missing fields are of none of them, hence outside. */
const KEY_TYPES = ["string", "number", "bool"];

export function mongoCollections(deps: CollectionsDeps): OpenCollection {
  return <T extends Doc>(spec: CollectionSpec): Collection<T> => {
    checkSpec(spec);
    // The prefix keeps a collection apart from the store's own.
    const table = deps.table<Fields>(`doc_${spec.name}`);
    return openTable<T>(spec, deps.gate, { table, ready: ensureOnce(spec, table, deps) });
  };
}

interface Place {
  readonly table: Table<Fields>;
  /** Resolves when the unique keys hold. */
  readonly ready: () => Promise<unknown>;
}

function openTable<T extends Doc>(spec: CollectionSpec, gate: Gate, { table, ready }: Place): Collection<T> {
  return {
    async insert(doc) {
      const [fields, bytes] = toFields(doc);
      await ready();
      const row = { ...fields, _id: doc.id };
      const there = await gate.run(() => insertAll(table, [row]), { writes: bytes });
      return there.length > 0 ? "taken" : "ok";
    },

    async get(id) {
      const found = await gate.run(() => table.findOne({ _id: id }));
      return found === null ? undefined : toDoc(found);
    },

    async find({ where, after, descending, limit }) {
      checkCovered(spec, where);
      if (limit < 1) return [];
      await ready();
      const way = descending === true ? -1 : 1;
      const begin = after === undefined ? {} : { _id: way < 0 ? { $lt: after } : { $gt: after } };
      const found = await gate.run(() =>
        table
          .find({ ...toFilter(where), ...begin })
          .sort({ _id: way })
          .limit(limit)
          .toArray(),
      );
      return found.map((fields) => toDoc(fields));
    },

    async patch(id, given) {
      const [fields, bytes] = toFields(given);
      await ready();
      const patched = await gate.run(() => patch(table, id, fields), { writes: bytes });
      return typeof patched === "string" ? patched : toDoc(patched);
    },

    async remove(id) {
      return (await gate.run(() => table.deleteOne({ _id: id }), { writes: 0 })).deletedCount > 0;
    },

    async removeWhere(where) {
      checkCovered(spec, where);
      await ready();
      return (await gate.run(() => table.deleteMany(toFilter(where)), { writes: 0 })).deletedCount;
    },
  };
}

async function patch(
  table: Table<Fields>,
  id: string,
  fields: Readonly<Record<string, unknown>>,
): Promise<Fields | "missing" | "taken"> {
  // Servers refuse an empty $set.
  if (Object.keys(fields).length === 0) return (await table.findOne({ _id: id })) ?? "missing";
  try {
    const patched = await table.findOneAndUpdate({ _id: id }, { $set: fields }, { returnDocument: "after" });
    return patched ?? "missing";
  } catch (error) {
    if (!isDuplicate(error)) throw error;
    return "taken";
  }
}

/** Made before the first use, begun at once; a failure is the first user's, and the next one tries again. */
function ensureOnce(
  spec: CollectionSpec,
  table: Table<Fields>,
  { gate, log }: CollectionsDeps,
): () => Promise<unknown> {
  let ensured: Promise<unknown> | undefined;
  const ready = (): Promise<unknown> => {
    ensured ??= gate
      .run(() => ensureIndexes(spec, table))
      .catch((error: unknown) => {
        ensured = undefined;
        throw error;
      });
    return ensured;
  };
  ready().catch((error: unknown) =>
    log.warn({ collection: spec.name, err: error }, "indexes are not made yet"),
  );
  return ready;
}

/** Makes the indexes that are missing; making one that is there does nothing. Drops what the spec no longer has. */
async function ensureIndexes(spec: CollectionSpec, table: Table<Fields>): Promise<void> {
  const wanted = indexesOf(spec);
  if (wanted.length > 0) await table.createIndexes(wanted);
  const names = new Set(["_id_", ...wanted.map(({ name }) => name)]);
  const existing = wanted.length > 0 ? await table.listIndexes().toArray() : [];
  for (const { name } of existing) if (!names.has(String(name))) await table.dropIndex(String(name));
}

/**
 * A unique key is a partial index, which serves no search of ours: a server must not use it for a document that could
 * be outside. So every key has a plain index, too; the id ends it so that a listing comes out of it in order.
 */
function indexesOf(spec: CollectionSpec): (IndexDescription & { name: string })[] {
  const ascending = (fields: readonly string[]) =>
    Object.fromEntries(fields.map((field) => [field, 1 as const]));
  const unique = spec.unique.map((fields) => ({
    name: `unique_${fields.join("_")}`,
    key: ascending(fields),
    unique: true,
    partialFilterExpression: Object.fromEntries(fields.map((field) => [field, { $type: KEY_TYPES }])),
  }));
  const plain = [...spec.unique, ...spec.indexes].map((fields) => ({
    name: `plain_${fields.join("_")}`,
    key: ascending([...fields, "_id"]),
  }));
  // A list that is unique and an index as well has one plain index.
  return [...unique, ...new Map(plain.map((index) => [index.name, index])).values()];
}

function toFilter(where: FindOptions["where"]): Filter<Fields> {
  return Object.fromEntries(Object.entries(where).map(([field, value]) => [field, { $eq: value }]));
}

/** The fields but the id, copied at once, and about how many bytes they are. Undefined ones are gone, as in JSON. */
export function toFields(given: object): [fields: Record<string, unknown>, bytes: number] {
  const text = JSON.stringify(given);
  const { id: _, ...rest }: Record<string, unknown> = JSON.parse(text);
  return [
    Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, toValue(value)])),
    text.length,
  ];
}

/**
 * Nested values are kept as text: exact for every name that a field may have in JSON and not in BSON. So are strings
 * that have half a surrogate pair, which JSON escapes and BSON would replace.
 */
function toValue(value: unknown): unknown {
  const nested = typeof value === "object" && value !== null;
  const broken = typeof value === "string" && !value.isWellFormed();
  return nested || broken ? { json: JSON.stringify(value) } : value;
}

export function toDoc({ _id, ...fields }: Fields) {
  const plain = Object.entries(fields).map(([name, value]) => [name, fromValue(value)]);
  return Object.fromEntries([["id", _id], ...plain]);
}

function fromValue(value: unknown): unknown {
  const nested = typeof value === "object" && value !== null && "json" in value;
  return nested ? JSON.parse(String(value.json)) : value;
}
