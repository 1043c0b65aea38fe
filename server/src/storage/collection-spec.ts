import type { CollectionSpec, FindOptions } from "./ports.ts";

/** Names become table, index and JSON field names: nothing that would need quoting, and short enough for every store. */
const IDENTIFIER = /^[a-zA-Z][a-zA-Z0-9]{0,39}$/;

/** Throws for a spec whose names cannot be used; a mistake in our own code, found at the first start. */
export function checkSpec(spec: CollectionSpec): void {
  const names = [spec.name, ...spec.unique.flat(), ...spec.indexes.flat()];
  const bad = names.find((name) => !IDENTIFIER.test(name));
  if (bad !== undefined) throw new TypeError(`collection ${spec.name}: "${bad}" is not a usable name`);
  const keys = [...spec.unique, ...spec.indexes];
  if (keys.some((key) => key.length === 0))
    throw new TypeError(`collection ${spec.name}: an index without fields`);
}

/**
 * Throws for a search that no index of the spec serves: it would read the whole collection, and would do so only once
 * there is much to read. A search is served by an index that begins with exactly its fields, in any order.
 */
export function checkCovered(spec: CollectionSpec, where: FindOptions["where"]): void {
  const fields = Object.keys(where);
  if (fields.length === 0) return;
  const covered = [...spec.unique, ...spec.indexes].some((key) => {
    const begin = key.slice(0, fields.length);
    return begin.length === fields.length && begin.every((field) => fields.includes(field));
  });
  if (!covered) throw new TypeError(`collection ${spec.name}: no index over ${fields.join(", ")}`);
}
