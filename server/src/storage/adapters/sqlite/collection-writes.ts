import type { CollectionSpec } from "../../ports.ts";
import type { Handlers, WriteCalls } from "./calls.ts";
import { indexesOf, tableOf } from "./collection-sql.ts";
import type { Meter, Prepare } from "./statements.ts";

const SQLITE_CONSTRAINT = 19;

type CollectionCalls = Pick<WriteCalls, "ensureCollection" | "insert" | "patch" | "remove">;

export function collectionWrites(prepare: Prepare, meter: Meter): Handlers<CollectionCalls> {
  return {
    ensureCollection({ spec }) {
      ensureCollection(prepare, spec);
      return undefined;
    },

    insert({ table, id, body }) {
      const add = prepare(`INSERT INTO ${table} (id, body) VALUES (?, ?) ON CONFLICT DO NOTHING`);
      if (Number(add.run(id, body).changes) === 0) return "taken";
      meter.bytes += id.length + Buffer.byteLength(body);
      return "ok";
    },

    patch({ table, id, fields }) {
      const kept = prepare(`SELECT body FROM ${table} WHERE id = ?`).get(id)?.["body"];
      if (typeof kept !== "string") return "missing";
      // Read and written within one transaction of the only writer: two patches cannot undo each other.
      const body = JSON.stringify({ ...JSON.parse(kept), ...JSON.parse(fields), id });
      try {
        prepare(`UPDATE ${table} SET body = ? WHERE id = ?`).run(body, id);
      } catch (error) {
        if (isConstraint(error)) return "taken";
        throw error;
      }
      meter.bytes += id.length + Buffer.byteLength(body);
      return { body };
    },

    remove({ sql, values }) {
      return Number(prepare(sql).run(...values).changes);
    },
  };
}

/** Makes the table and the indexes that are missing, and drops indexes that the spec no longer has. */
function ensureCollection(prepare: Prepare, spec: CollectionSpec): void {
  const table = tableOf(spec.name);
  prepare(`CREATE TABLE IF NOT EXISTS ${table} (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL)`).run();
  const wanted = indexesOf(spec);
  const existing = prepare(
    "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
  )
    .all(table)
    .map((index) => String(index["name"]));
  const names = new Set(wanted.map((index) => index.name));
  for (const name of existing) if (!names.has(name)) prepare(`DROP INDEX ${name}`).run();
  for (const index of wanted) if (!existing.includes(index.name)) prepare(index.sql).run();
}

function isConstraint(error: unknown): boolean {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return false;
  return (error.errcode & 0xff) === SQLITE_CONSTRAINT;
}
