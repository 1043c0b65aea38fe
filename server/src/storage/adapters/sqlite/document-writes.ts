import type { Handlers, WriteCalls } from "./calls.ts";
import type { Names } from "./names.ts";
import { unpackRows } from "./row-batch.ts";
import { storedWidth } from "./statements.ts";
import type { Meter, Prepare } from "./statements.ts";

/** Largest piece of a part; a chunk's id is its part's id times CHUNKS plus its place. */
export const CHUNK_BYTES = 1024 * 1024;
export const CHUNKS = 2 ** 16;

type DocumentCalls = Pick<WriteCalls, "appendRows" | "removeRows" | "purgeRows" | "putChunk" | "removeParts">;

export function documentWrites(prepare: Prepare, names: Names, meter: Meter): Handlers<DocumentCalls> {
  return { ...rowWrites(prepare, names, meter), ...partWrites(prepare, meter) };
}

function rowWrites(
  prepare: Prepare,
  names: Names,
  meter: Meter,
): Handlers<Pick<WriteCalls, "appendRows" | "removeRows" | "purgeRows">> {
  // Ignoring a row that is there makes a retry of the same batch harmless.
  const add = prepare(
    "INSERT OR IGNORE INTO row (lineage, node, seq, at, author, body) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const removeRange = prepare(`
    DELETE FROM row WHERE lineage = (SELECT id FROM lineage WHERE document = ? AND epoch = ?)
      AND node = (SELECT id FROM node WHERE name = ?) AND seq BETWEEN ? AND ?`);
  const purge = prepare(
    "DELETE FROM row WHERE lineage IN (SELECT id FROM lineage WHERE document = ? AND epoch <= ?)",
  );
  const purgeLineage = prepare("DELETE FROM lineage WHERE document = ? AND epoch <= ?");

  return {
    appendRows({ rows }) {
      for (const row of unpackRows(rows)) {
        const lineage = names.lineage(row.document, row.epoch);
        const node = names.node(row.node, row.at);
        const author = names.author(row.by);
        const at = row.at - node.base;
        add.run(lineage, node.id, row.seq, at, author, row.update);
        const numbers = storedWidth(lineage) + storedWidth(node.id) + storedWidth(row.seq);
        meter.bytes += numbers + storedWidth(at) + storedWidth(author) + row.update.length;
      }
      return undefined;
    },

    removeRows({ ranges }) {
      for (const { document, epoch, node, seq, to } of ranges)
        removeRange.run(document, epoch, node, seq, to);
      return undefined;
    },

    purgeRows({ document, upToEpoch }) {
      purge.run(document, upToEpoch);
      const { changes } = purgeLineage.run(document, upToEpoch);
      // The numbers of the purged epochs are free again and must not be used from memory.
      if (Number(changes) > 0) names.forget();
      return undefined;
    },
  };
}

function partWrites(prepare: Prepare, meter: Meter): Handlers<Pick<WriteCalls, "putChunk" | "removeParts">> {
  const find = prepare("SELECT id, whole FROM part WHERE document = ? AND name = ?");
  const add = prepare(
    "INSERT INTO part (document, name, at, bytes, whole) VALUES (?, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
  );
  const finish = prepare("UPDATE part SET whole = 1 WHERE id = ?");
  const remove = prepare("DELETE FROM part WHERE id = ?");
  const addChunk = prepare("INSERT OR REPLACE INTO chunk (id, body) VALUES (?, ?)");
  const removeChunks = prepare("DELETE FROM chunk WHERE id BETWEEN ? AND ?");

  return {
    putChunk({ document, id, at, bytes, index, last, body }) {
      if (index >= CHUNKS) throw new RangeError(`a part of ${bytes} bytes is too large`);
      add.run(document, id, at, bytes);
      const part = find.get(document, id);
      if (part?.["whole"] === 1) return false;
      const key = Number(part?.["id"]);
      addChunk.run(key * CHUNKS + index, body);
      // A part exists once its last chunk does; until then only the sweep of orphans can see it.
      if (last) finish.run(key);
      meter.bytes += body.length + storedWidth(key) + 2;
      if (last) meter.bytes += document.length + id.length + storedWidth(at) + storedWidth(bytes);
      return !last;
    },

    removeParts({ document, ids }) {
      for (const id of ids) {
        const key = find.get(document, id)?.["id"];
        if (key === undefined) continue;
        remove.run(Number(key));
        removeChunks.run(Number(key) * CHUNKS, Number(key) * CHUNKS + CHUNKS - 1);
      }
      return undefined;
    },
  };
}
