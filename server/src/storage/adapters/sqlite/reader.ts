import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type {
  Answer,
  FromThread,
  Handlers,
  Kind,
  ReadCalls,
  Request,
  StoredEntry,
  ThreadBoot,
} from "./calls.ts";
import { CHUNKS } from "./document-writes.ts";
import { toStoreError } from "./group-commit.ts";
import { rowReads } from "./row-reads.ts";
import { bytesOf, preparedOnce } from "./statements.ts";
import type { Prepare } from "./statements.ts";
import { DATABASE_FILE } from "./writer.ts";

export interface Reader {
  run(requests: readonly Request<ReadCalls>[]): FromThread;
  close(): void;
}

/** Every call sees all that was answered by the writer before it was made: WAL readers begin at the last commit. */
export function openReader({ dir }: Pick<ThreadBoot, "dir">): Reader {
  const db = new DatabaseSync(join(dir, DATABASE_FILE), { readOnly: true, timeout: 5_000 });
  db.exec("PRAGMA cache_size = -16000");
  const prepare = preparedOnce(db);
  const handlers: Handlers<ReadCalls> = {
    ...rowReads(prepare),
    ...partReads(prepare),
    ...streamReads(prepare),
    ...bodyReads(prepare),
  };
  const execute = <K extends Kind<ReadCalls>>(request: Request<ReadCalls, K>): unknown =>
    handlers[request.kind](request.input);
  const begin = db.prepare("BEGIN");
  const commit = db.prepare("COMMIT");

  const answer = (request: Request<ReadCalls>): Answer => {
    try {
      // One transaction per call: a call that takes several statements sees one state of the store.
      begin.run();
      return { id: request.id, value: execute(request) };
    } catch (error) {
      return { id: request.id, error: toStoreError(error) };
    } finally {
      if (db.isTransaction) commit.run();
    }
  };

  return {
    run: (requests) => ({ answers: requests.map(answer), commits: 0, storedBytes: 0 }),
    close: () => db.close(),
  };
}

function partReads(prepare: Prepare): Handlers<Pick<ReadCalls, "part" | "parts">> {
  const part = prepare("SELECT id, bytes FROM part WHERE document = ? AND name = ? AND whole = 1");
  const chunks = prepare("SELECT body FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id");
  const parts = prepare("SELECT name, at FROM part WHERE document = ? ORDER BY name");

  return {
    part({ document, id }) {
      const head = part.get(document, id);
      if (head === undefined) return undefined;
      const body = new Uint8Array(Number(head["bytes"]));
      const first = Number(head["id"]) * CHUNKS;
      let at = 0;
      for (const chunk of chunks.iterate(first, first + CHUNKS - 1)) {
        const bytes = bytesOf(chunk["body"]);
        body.set(bytes, at);
        at += bytes.length;
      }
      if (at !== body.length)
        throw new Error(`part ${id} of ${document} has ${at} of its ${body.length} bytes`);
      return body;
    },

    // Unfinished ones, too: nobody else would ever remove what a crash has left of one.
    parts: ({ document }) =>
      parts.all(document).map((found) => ({ id: String(found["name"]), at: Number(found["at"]) })),
  };
}

function streamReads(prepare: Prepare): Handlers<Pick<ReadCalls, "entries" | "head">> {
  const columns = "SELECT at, op, body FROM entry WHERE stream = (SELECT id FROM stream WHERE name = ?)";
  const entries = prepare(`${columns} AND at >= ? ORDER BY at LIMIT ?`);
  const head = prepare(`${columns} ORDER BY at DESC LIMIT 1`);
  return {
    entries: ({ stream, from, limit }) => entries.all(stream, from, limit).map(entryOf),
    head: ({ stream }) => {
      const found = head.get(stream);
      return found && entryOf(found);
    },
  };
}

function bodyReads(prepare: Prepare): Handlers<Pick<ReadCalls, "bodies">> {
  return {
    bodies: ({ sql, values }) =>
      prepare(sql)
        .all(...values)
        .map((row) => String(row["body"])),
  };
}

function entryOf(row: Record<string, unknown>): StoredEntry {
  const op = row["op"];
  return { at: Number(row["at"]), op: typeof op === "string" ? op : undefined, body: bytesOf(row["body"]) };
}
