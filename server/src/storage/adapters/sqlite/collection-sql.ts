import type { CollectionSpec, FindOptions } from "../../ports.ts";
import type { Statement } from "./calls.ts";

export interface CollectionIndex {
  readonly name: string;
  readonly sql: string;
}

/** The prefix keeps a collection apart from the store's own tables. Names were checked by `checkSpec`. */
export function tableOf(collection: string): string {
  return `doc_${collection}`;
}

/** Expression indexes; a field that is missing or null is NULL to SQLite, which is equal to nothing in a unique index. */
export function indexesOf(spec: CollectionSpec): CollectionIndex[] {
  const table = tableOf(spec.name);
  const index = (kind: "unique" | "plain", fields: readonly string[]): CollectionIndex => {
    const name = `${table}_${kind}_${fields.join("_")}`;
    const columns = fields.map(column);
    return kind === "unique"
      ? { name, sql: `CREATE UNIQUE INDEX ${name} ON ${table} (${columns.join(", ")})` }
      : // The id ends a plain index so that a listing comes out of it in order.
        { name, sql: `CREATE INDEX ${name} ON ${table} (${[...columns, "id"].join(", ")})` };
  };
  return [
    ...spec.unique.map((fields) => index("unique", fields)),
    ...spec.indexes.map((fields) => index("plain", fields)),
  ];
}

export function findStatement(spec: CollectionSpec, options: FindOptions): Statement {
  const { where, after, descending, limit } = options;
  const { conditions, values } = conditionsOf(where);
  if (after !== undefined) {
    conditions.push(descending === true ? "id < ?" : "id > ?");
    values.push(after);
  }
  const order = descending === true ? "DESC" : "ASC";
  return {
    sql: `SELECT body FROM ${tableOf(spec.name)}${clause(conditions)} ORDER BY id ${order} LIMIT ?`,
    values: [...values, limit],
  };
}

export function getStatement(spec: CollectionSpec, id: string): Statement {
  return { sql: `SELECT body FROM ${tableOf(spec.name)} WHERE id = ?`, values: [id] };
}

export function removeStatement(spec: CollectionSpec, id: string): Statement {
  return { sql: `DELETE FROM ${tableOf(spec.name)} WHERE id = ?`, values: [id] };
}

export function removeWhereStatement(spec: CollectionSpec, where: FindOptions["where"]): Statement {
  const { conditions, values } = conditionsOf(where);
  return { sql: `DELETE FROM ${tableOf(spec.name)}${clause(conditions)}`, values };
}

function conditionsOf(where: FindOptions["where"]): { conditions: string[]; values: (string | number)[] } {
  const fields = Object.entries(where);
  return {
    conditions: fields.map(([field]) => `${column(field)} = ?`),
    // json_extract gives true and false as 1 and 0.
    values: fields.map(([, value]) => (typeof value === "boolean" ? Number(value) : value)),
  };
}

function clause(conditions: readonly string[]): string {
  return conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
}

/** Must be the same text in index and query, or SQLite does not see that they belong together. */
function column(field: string): string {
  return `json_extract(body, '$.${field}')`;
}
