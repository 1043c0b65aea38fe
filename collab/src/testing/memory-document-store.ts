import { memoryStreams } from "@scriptorium/shared/testing";
import type { DocumentStore, UpdateRow } from "../ports.ts";

interface MemoryPart {
  readonly body: Uint8Array;
  readonly at: number;
}

interface MemoryDocument {
  readonly rows: Map<string, UpdateRow>;
  readonly parts: Map<string, MemoryPart>;
}

/** The reference implementation of the port: every store must behave like this one. Keeps nothing across a restart. */
export function memoryDocumentStore(now: () => number = Date.now): DocumentStore {
  const documents = new Map<string, MemoryDocument>();

  const open = (name: string): MemoryDocument => {
    const document = documents.get(name) ?? { rows: new Map(), parts: new Map() };
    documents.set(name, document);
    return document;
  };

  return {
    heads: memoryStreams(),

    async appendRows(rows) {
      for (const row of rows) {
        const kept = open(row.document).rows;
        const key = rowKey(row);
        // The first write of an identity stands; a retry carries the same bytes.
        if (!kept.has(key)) kept.set(key, copyRow(row));
      }
    },

    async readRows(document, epoch) {
      return [...open(document).rows.values()]
        .filter((row) => row.epoch === epoch)
        .toSorted(byNodeAndNumber)
        .map(copyRow);
    },

    async listRows(document, epoch) {
      const rows = [...open(document).rows.values()].filter((row) => row.epoch === epoch);
      return rows.map(({ node, seq }) => ({ node, seq }));
    },

    async getRows(ids) {
      const found = new Set(ids.flatMap((id) => open(id.document).rows.get(rowKey(id)) ?? []));
      return [...found].toSorted(byNodeAndNumber).map(copyRow);
    },

    async removeRows(ids) {
      for (const id of ids) open(id.document).rows.delete(rowKey(id));
    },

    async putPart({ id, document, body }) {
      const { parts } = open(document);
      if (!parts.has(id)) parts.set(id, { body: Uint8Array.from(body), at: now() });
    },

    async getPart(document, id) {
      const part = open(document).parts.get(id);
      return part && Uint8Array.from(part.body);
    },

    async removeParts(document, ids) {
      for (const id of ids) open(document).parts.delete(id);
    },

    async listParts(document) {
      return [...open(document).parts].map(([id, { at }]) => ({ id, at }));
    },

    async purgeRows(document, upToEpoch) {
      const { rows } = open(document);
      for (const [key, row] of rows) if (row.epoch <= upToEpoch) rows.delete(key);
    },
  };
}

function rowKey({ epoch, node, seq }: Pick<UpdateRow, "epoch" | "node" | "seq">): string {
  return `${epoch}/${seq}/${node}`;
}

function byNodeAndNumber(a: UpdateRow, b: UpdateRow): number {
  if (a.node === b.node) return a.seq - b.seq;
  return a.node < b.node ? -1 : 1;
}

function copyRow({ document, epoch, node, seq, at, by, update }: UpdateRow): UpdateRow {
  return { document, epoch, node, seq, at, by, update: Uint8Array.from(update) };
}
