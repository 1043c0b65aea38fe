import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Server } from "@hocuspocus/server";
import type { Extension } from "@hocuspocus/server";
import * as Y from "yjs";

/**
 * Stock Hocuspocus in a process of its own: its own Server, its defaults (debounce 2 s, at most 10 s). With STORE_DIR it
 * stores as its Database extension does: the whole encoded document, one row each. SQLite is set as ours is.
 */

let storedBytes = 0;

function databaseExtension(directory: string): Extension {
  mkdirSync(directory, { recursive: true });
  const db = new DatabaseSync(join(directory, "stock.sqlite"));
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  db.exec("CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, data BLOB NOT NULL)");
  const fetch = db.prepare("SELECT data FROM documents WHERE name = ?");
  const store = db.prepare(
    "INSERT INTO documents (name, data) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data",
  );
  return {
    onLoadDocument: ({ documentName, document }) => {
      const data = fetch.get(documentName)?.["data"];
      if (data instanceof Uint8Array) Y.applyUpdate(document, data);
      return Promise.resolve();
    },
    onStoreDocument: ({ documentName, document }) => {
      const data = Y.encodeStateAsUpdate(document);
      store.run(documentName, data);
      storedBytes += documentName.length + data.length;
      return Promise.resolve();
    },
  };
}

const directory = process.env["STORE_DIR"];
const server = new Server({
  port: 0,
  address: "127.0.0.1",
  quiet: true,
  extensions: directory === undefined ? [] : [databaseExtension(directory)],
});
await server.listen();
process.on("message", () => process.send?.(storedBytes));
console.log(`ready at ${server.address.port}`);
