import { checkCovered, checkSpec } from "../../collection-spec.ts";
import type { Collection, CollectionSpec, Doc, FindOptions, OpenCollection } from "../../ports.ts";

interface Fields extends Doc {
  readonly [field: string]: unknown;
}

/** The reference implementation of the port. Opening the same name twice gives the same documents. */
export function memoryCollections(): OpenCollection {
  const tables = new Map<string, Map<string, Fields>>();
  return <T extends Doc>(spec: CollectionSpec): Collection<T> => {
    checkSpec(spec);
    const docs = tables.get(spec.name) ?? new Map<string, Fields>();
    tables.set(spec.name, docs);
    return openTable<T>(spec, docs);
  };
}

function openTable<T extends Doc>(spec: CollectionSpec, docs: Map<string, Fields>): Collection<T> {
  const select = (where: FindOptions["where"]): Fields[] => {
    checkCovered(spec, where);
    return [...docs.values()].filter((doc) =>
      Object.entries(where).every(([key, value]) => doc[key] === value),
    );
  };
  const collides = (candidate: Fields): boolean =>
    spec.unique.some((key) =>
      [...docs.values()].some((doc) => doc.id !== candidate.id && sameKey(key, doc, candidate)),
    );

  return {
    async insert(doc) {
      const fields = toFields(doc);
      if (docs.has(fields.id) || collides(fields)) return "taken";
      docs.set(fields.id, fields);
      return "ok";
    },

    async get(id) {
      const doc = docs.get(id);
      return doc && JSON.parse(JSON.stringify(doc));
    },

    async find({ where, after, descending, limit }) {
      const sign = descending === true ? -1 : 1;
      return select(where)
        .toSorted((a, b) => sign * compareIds(a.id, b.id))
        .filter((doc) => after === undefined || sign * compareIds(doc.id, after) > 0)
        .slice(0, limit)
        .map((doc) => JSON.parse(JSON.stringify(doc)));
    },

    async patch(id, fields) {
      const doc = docs.get(id);
      if (doc === undefined) return "missing";
      const patched: Fields = { ...doc, ...toFields(fields), id };
      if (collides(patched)) return "taken";
      docs.set(id, patched);
      return JSON.parse(JSON.stringify(patched));
    },

    async remove(id) {
      return docs.delete(id);
    },

    async removeWhere(where) {
      const found = select(where);
      for (const doc of found) docs.delete(doc.id);
      return found.length;
    },
  };
}

/** A document that lacks a field, or holds null in it, is outside the key. */
function sameKey(key: readonly string[], a: Fields, b: Fields): boolean {
  return key.every((field) => a[field] !== undefined && a[field] !== null && a[field] === b[field]);
}

function compareIds(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** What a store keeps of a value: JSON, undefined fields gone, nothing shared with the caller. */
function toFields(value: unknown): Fields {
  return JSON.parse(JSON.stringify(value));
}
