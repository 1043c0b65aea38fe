import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { UpdateRow } from "@scriptorium/collab";
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
import { packRows } from "./row-batch.ts";
import { preparedOnce } from "./statements.ts";
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
    ...documentReads(prepare),
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

function documentReads(prepare: Prepare): Handlers<Pick<ReadCalls, "rows" | "part" | "parts">> {
  const rows = prepare(`
    SELECT node, seq, at, author, body FROM row
    WHERE lineage = (SELECT id FROM lineage WHERE document = ? AND epoch = ?) ORDER BY node, seq`);
  const node = prepare("SELECT name, base FROM node WHERE id = ?");
  const author = prepare("SELECT name FROM author WHERE id = ?");
  const part = prepare("SELECT id, bytes FROM part WHERE document = ? AND name = ? AND whole = 1");
  const chunks = prepare("SELECT body FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id");
  const parts = prepare("SELECT name, at FROM part WHERE document = ? ORDER BY name");

  return {
    rows({ document, epoch }) {
      const nodes = new Map<unknown, { readonly name: string; readonly base: number }>();
      const authors = new Map<unknown, string>();
      const found = rows.all(document, epoch).map((row): UpdateRow => {
        const from = nodes.get(row["node"]) ?? nodeOf(node.get(row["node"] ?? null));
        const by = authors.get(row["author"]) ?? String(author.get(row["author"] ?? null)?.["name"]);
        nodes.set(row["node"], from);
        authors.set(row["author"], by);
        const at = from.base + Number(row["at"]);
        return {
          document,
          epoch,
          node: from.name,
          seq: Number(row["seq"]),
          at,
          by,
          update: bytesOf(row["body"]),
        };
      });
      return packRows(nodes.size > 1 ? found.toSorted(byNode) : found);
    },

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

function nodeOf(row: Record<string, unknown> | undefined): { readonly name: string; readonly base: number } {
  return { name: String(row?.["name"]), base: Number(row?.["base"]) };
}

function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new TypeError("the store holds something else where bytes belong");
}

/** Rows come by the nodes' numbers, that is, in the order in which they were first seen; the port says by name. */
function byNode(a: UpdateRow, b: UpdateRow): number {
  if (a.node === b.node) return a.seq - b.seq;
  return a.node < b.node ? -1 : 1;
}
