import type { DocumentStore } from "@scriptorium/collab";
import type { Streams } from "@scriptorium/shared";
import type { ReadCalls, WriteCalls } from "./calls.ts";
import { CHUNK_BYTES } from "./document-writes.ts";
import type { Lane } from "./lane.ts";
import { distinctIds, packRows, toRanges, unpackRows } from "./row-batch.ts";

export interface DocumentsDeps {
  readonly heads: Streams;
  readonly writer: Lane<WriteCalls>;
  readonly reader: Lane<ReadCalls>;
  readonly now: () => number;
}

export function sqliteDocuments({ heads, writer, reader, now }: DocumentsDeps): DocumentStore {
  return {
    heads,

    async appendRows(batch) {
      if (batch.length === 0) return;
      const rows = packRows(batch);
      await writer.call("appendRows", { rows }, { bytes: rows.length, transfer: [rows.buffer] });
    },

    async readRows(document, epoch) {
      return unpackRows(await reader.call("rows", { document, epoch }));
    },

    async listRows(document, epoch) {
      const nodes = await reader.call("rowNames", { document, epoch });
      return nodes.flatMap(({ node, seqs }) => seqs.map((seq) => ({ node, seq })));
    },

    async getRows(ids) {
      if (ids.length === 0) return [];
      return unpackRows(await reader.call("namedRows", { ranges: toRanges(distinctIds(ids)) }));
    },

    async removeRows(ids) {
      if (ids.length > 0) await writer.call("removeRows", { ranges: toRanges(ids) });
    },

    async purgeRows(document, upToEpoch) {
      await writer.call("purgeRows", { document, upToEpoch });
    },

    async putPart({ document, id, body }) {
      const chunks = Math.max(1, Math.ceil(body.length / CHUNK_BYTES));
      const at = now();
      // One at a time, so that the commits of what people type get in between the pieces of a large snapshot.
      for (let index = 0; index < chunks; index += 1) {
        const piece = body.slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
        const more = await writer.call(
          "putChunk",
          { document, id, at, bytes: body.length, index, last: index === chunks - 1, body: piece },
          { bytes: piece.length, transfer: [piece.buffer] },
        );
        if (!more) return;
      }
    },

    getPart: (document, id) => reader.call("part", { document, id }),

    async removeParts(document, ids) {
      if (ids.length > 0) await writer.call("removeParts", { document, ids });
    },

    listParts: (document) => reader.call("parts", { document }),
  };
}
