import type { DatabaseSync } from "node:sqlite";

/**
 * Every change of the layout since the first version, in order; a step is never edited once released, only followed.
 * PRAGMA user_version counts the steps that a file has taken.
 *
 * `row` is what every keystroke becomes, so it is kept small: names are interned, times count from the node's first
 * row, and the table is its own primary key. A row of a 20-byte update takes about 40 bytes.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE lineage (id INTEGER PRIMARY KEY, document TEXT NOT NULL, epoch INTEGER NOT NULL, UNIQUE (document, epoch));
  CREATE TABLE node (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, base INTEGER NOT NULL);
  CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE row (
    lineage INTEGER NOT NULL, node INTEGER NOT NULL, seq INTEGER NOT NULL,
    at INTEGER NOT NULL, author INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (lineage, node, seq)
  ) WITHOUT ROWID;

  CREATE TABLE part (
    id INTEGER PRIMARY KEY, document TEXT NOT NULL, name TEXT NOT NULL,
    at INTEGER NOT NULL, bytes INTEGER NOT NULL, whole INTEGER NOT NULL,
    UNIQUE (document, name)
  );
  CREATE TABLE chunk (id INTEGER PRIMARY KEY, body BLOB NOT NULL);

  CREATE TABLE stream (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, floor INTEGER NOT NULL);
  CREATE TABLE entry (
    stream INTEGER NOT NULL, at INTEGER NOT NULL, op TEXT, body BLOB NOT NULL,
    PRIMARY KEY (stream, at)
  ) WITHOUT ROWID;
  CREATE UNIQUE INDEX entry_op ON entry (stream, op) WHERE op IS NOT NULL;
  `,
];

/**
 * Brings a file to the newest layout, all steps or none. Safe when two processes do it at once: the version is read
 * again under the write lock. A file from a newer version is left as it is.
 */
export function migrate(db: DatabaseSync, steps: readonly string[] = MIGRATIONS): void {
  if (versionOf(db) === steps.length) return;
  refuseNewer(db, steps.length);
  db.exec("BEGIN IMMEDIATE");
  try {
    refuseNewer(db, steps.length);
    for (const step of steps.slice(versionOf(db))) db.exec(step);
    db.exec(`PRAGMA user_version = ${steps.length}`);
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

/** Asked before anything else is done to a file, because even the switch to WAL writes to it. */
export function refuseNewer(db: DatabaseSync, known: number = MIGRATIONS.length): void {
  const version = versionOf(db);
  if (version <= known) return;
  throw new Error(
    `the data was written by a newer version of Scriptorium (layout ${version}, this one knows ${known}); ` +
      "start that version, or restore a backup from before the upgrade",
  );
}

function versionOf(db: DatabaseSync): number {
  return Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
}
