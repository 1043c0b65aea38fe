import type { DatabaseSync, StatementSync } from "node:sqlite";

/** Distinct SQL texts kept prepared. The code has a few dozen, and a few for each collection. */
const PREPARED = 500;

/** Prepares each SQL text once. */
export type Prepare = (sql: string) => StatementSync;

export function preparedOnce(db: DatabaseSync): Prepare {
  const statements = new Map<string, StatementSync>();
  return (sql) => {
    const known = statements.get(sql);
    if (known !== undefined) return known;
    if (statements.size >= PREPARED) statements.clear();
    const statement = db.prepare(sql);
    statements.set(sql, statement);
    return statement;
  };
}

/** Bytes that SQLite stores for a whole number. */
export function storedWidth(value: number): number {
  const size = value < 0 ? -value - 1 : value;
  if (value === 0 || value === 1) return 0;
  if (size < 0x80) return 1;
  if (size < 0x8000) return 2;
  if (size < 0x80_0000) return 3;
  if (size < 0x8000_0000) return 4;
  return size < 0x8000_0000_0000 ? 6 : 8;
}

export function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new TypeError("the store holds something else where bytes belong");
}

/** Counts the bytes of keys and values that are handed to the store. */
export interface Meter {
  bytes: number;
}
