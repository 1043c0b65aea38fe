import { checkCovered, checkSpec } from "../../collection-spec.ts";
import type { Collection, CollectionSpec, Doc, OpenCollection } from "../../ports.ts";
import type { ReadCalls, WriteCalls } from "./calls.ts";
import {
  findStatement,
  getStatement,
  removeStatement,
  removeWhereStatement,
  tableOf,
} from "./collection-sql.ts";
import type { Lane } from "./lane.ts";

export function sqliteCollections(writer: Lane<WriteCalls>, reader: Lane<ReadCalls>): OpenCollection {
  return <T extends Doc>(spec: CollectionSpec): Collection<T> => {
    checkSpec(spec);
    return openTable<T>(spec, writer, reader);
  };
}

function openTable<T extends Doc>(
  spec: CollectionSpec,
  writer: Lane<WriteCalls>,
  reader: Lane<ReadCalls>,
): Collection<T> {
  const table = tableOf(spec.name);
  const ready = ensureOnce(spec, writer);

  return {
    async insert(doc) {
      const body = JSON.stringify(doc);
      await ready();
      return writer.call("insert", { table, id: doc.id, body }, { bytes: body.length });
    },

    async get(id) {
      await ready();
      const [body] = await reader.call("bodies", getStatement(spec, id));
      return body === undefined ? undefined : JSON.parse(body);
    },

    async find(options) {
      checkCovered(spec, options.where);
      await ready();
      const bodies = await reader.call("bodies", findStatement(spec, options));
      return bodies.map((body) => JSON.parse(body));
    },

    async patch(id, fields) {
      const text = JSON.stringify(fields);
      await ready();
      const outcome = await writer.call("patch", { table, id, fields: text }, { bytes: text.length });
      return typeof outcome === "string" ? outcome : JSON.parse(outcome.body);
    },

    async remove(id) {
      await ready();
      return (await writer.call("remove", removeStatement(spec, id))) > 0;
    },

    async removeWhere(where) {
      checkCovered(spec, where);
      await ready();
      return writer.call("remove", removeWhereStatement(spec, where));
    },
  };
}

/** Makes the table and its indexes before the first use; a failure is the first user's, and the next one tries again. */
function ensureOnce(spec: CollectionSpec, writer: Lane<WriteCalls>): () => Promise<unknown> {
  let ensured: Promise<unknown> | undefined;
  return () => {
    ensured ??= writer.call("ensureCollection", { spec }).catch((error: unknown) => {
      ensured = undefined;
      throw error;
    });
    return ensured;
  };
}
