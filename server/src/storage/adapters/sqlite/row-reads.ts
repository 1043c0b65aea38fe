import type { UpdateRow } from "@scriptorium/collab";
import type { Handlers, ReadCalls } from "./calls.ts";
import { packRows } from "./row-batch.ts";
import { bytesOf, type Prepare } from "./statements.ts";

type RowCalls = Pick<ReadCalls, "rows" | "rowNames" | "namedRows">;

/** What the writer has interned, looked up once per call. */
interface Interned {
  node(id: unknown): { readonly name: string; readonly base: number };
  author(id: unknown): string;
}

export function rowReads(prepare: Prepare): Handlers<RowCalls> {
  const columns = "node, seq, at, author, body";
  const lineage = "lineage = (SELECT id FROM lineage WHERE document = ? AND epoch = ?)";
  const rows = prepare(`SELECT ${columns} FROM row WHERE ${lineage} ORDER BY node, seq`);
  const named = prepare(`
    SELECT ${columns} FROM row
    WHERE ${lineage} AND node = (SELECT id FROM node WHERE name = ?) AND seq BETWEEN ? AND ? ORDER BY seq`);
  const names = prepare(`SELECT node, seq FROM row WHERE ${lineage}`);

  return {
    rows({ document, epoch }) {
      const interned = internedOnce(prepare);
      const found = rows.all(document, epoch).map((row) => toRow(row, { document, epoch }, interned));
      return packRows(found.toSorted(byNodeAndNumber));
    },

    rowNames({ document, epoch }) {
      const numbers = new Map<unknown, number[]>();
      for (const { node, seq } of names.iterate(document, epoch)) {
        const seqs = numbers.get(node) ?? [];
        numbers.set(node, seqs);
        seqs.push(Number(seq));
      }
      const interned = internedOnce(prepare);
      return [...numbers].map(([node, seqs]) => ({ node: interned.node(node).name, seqs }));
    },

    namedRows({ ranges }) {
      const interned = internedOnce(prepare);
      const found = ranges.flatMap((range) => {
        const { document, epoch, node, seq, to } = range;
        return named.all(document, epoch, node, seq, to).map((row) => toRow(row, range, interned));
      });
      return packRows(found.toSorted(byNodeAndNumber));
    },
  };
}

function internedOnce(prepare: Prepare): Interned {
  const findNode = prepare("SELECT name, base FROM node WHERE id = ?");
  const findAuthor = prepare("SELECT name FROM author WHERE id = ?");
  const nodes = new Map<unknown, ReturnType<Interned["node"]>>();
  const authors = new Map<unknown, string>();
  return {
    node(id) {
      const found = nodes.get(id) ?? toNode(findNode.get(Number(id)));
      nodes.set(id, found);
      return found;
    },
    author(id) {
      const found = authors.get(id) ?? String(findAuthor.get(Number(id))?.["name"]);
      authors.set(id, found);
      return found;
    },
  };
}

function toNode(row: Record<string, unknown> | undefined): ReturnType<Interned["node"]> {
  return { name: String(row?.["name"]), base: Number(row?.["base"]) };
}

function toRow(
  row: Record<string, unknown>,
  { document, epoch }: Pick<UpdateRow, "document" | "epoch">,
  interned: Interned,
): UpdateRow {
  const { name, base } = interned.node(row["node"]);
  return {
    document,
    epoch,
    node: name,
    seq: Number(row["seq"]),
    at: base + Number(row["at"]),
    by: interned.author(row["author"]),
    update: bytesOf(row["body"]),
  };
}

/** Rows come by the nodes' numbers, that is, in the order in which they were first seen; the port says by name. */
function byNodeAndNumber(a: UpdateRow, b: UpdateRow): number {
  if (a.node === b.node) return a.seq - b.seq;
  return a.node < b.node ? -1 : 1;
}
