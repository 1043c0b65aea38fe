import type { DocumentStore, RowId, UpdateRow } from "@scriptorium/collab";
import type { Binary, Collection } from "mongodb";
import { fromBinary, toBinary } from "./bytes.ts";
import type { Gate } from "./gate.ts";
import { below, namesOf, pathOf } from "./keys.ts";
import { insertAll, type Stored } from "./table.ts";

/** A document of the server may have 16 MB; a larger update than this is cut, with room for the rest of its row. */
export const WHOLE_BYTES = 8 * 1024 * 1024;
export const PIECE_BYTES = 4 * 1024 * 1024;
/** Ids named in one command. */
const IDS_AT_ONCE = 1_000;

/** `_id` is document/epoch/node/seq. */
export interface LogRow extends Stored {
  readonly at: number;
  readonly by: string;
  /** Or, of a large update, how many pieces it was cut into. */
  readonly update: Binary | number;
}

/**
 * `_id` is that of the row and the piece's place. All of them are there before the row is, and they go before it does.
 * So a crash leaves pieces without a row, which its writer has acknowledged to nobody, or a row without all of its pieces,
 * whose update is in a part. Neither is read. They go with their epoch: before that nobody can tell a writer that has
 * died from one that has been stopped and is going to insert the row.
 */
export interface RowPiece extends Stored {
  readonly row: string;
  readonly body: Binary;
}

export interface RowsDeps {
  readonly gate: Gate;
  readonly rows: Collection<LogRow>;
  readonly pieces: Collection<RowPiece>;
}

type RowOperations = Pick<
  DocumentStore,
  "appendRows" | "readRows" | "listRows" | "getRows" | "removeRows" | "purgeRows"
>;

export function mongoRows({ gate, rows, pieces }: RowsDeps): RowOperations {
  return {
    async appendRows(batch) {
      if (batch.length === 0) return;
      const cut = batch.filter(({ update }) => update.length > WHOLE_BYTES).flatMap(cutRow);
      const whole = batch.map(toLogRow);
      const bytes = batch.reduce((sum, { update }) => sum + update.length, 0);
      const names = whole.reduce((sum, { _id, by }) => sum + _id.length + by.length + 8, 0);
      await gate.run(
        async () => {
          await insertAll(pieces, cut);
          await insertAll(rows, whole);
        },
        { writes: bytes + names },
      );
    },

    async readRows(document, epoch) {
      return gate.run(async () => {
        const found = await rows.find({ _id: below(pathOf(document, epoch)) }).toArray();
        return (await wholeRows(pieces, found)).toSorted(byNodeAndNumber);
      });
    },

    async listRows(document, epoch) {
      return gate.run(async () => {
        // Nothing but the id, so that the index alone answers.
        const range = { _id: below(pathOf(document, epoch)) };
        const found = await rows.find(range, { projection: { _id: 1 } }).toArray();
        return found.map(({ _id }) => {
          const [, , node = "", seq] = namesOf(_id);
          return { node, seq: Number(seq) };
        });
      });
    },

    async getRows(ids) {
      const named = [...new Set(ids.map(idOf))];
      const read: UpdateRow[] = [];
      for (let start = 0; start < named.length; start += IDS_AT_ONCE) {
        const some = { _id: { $in: named.slice(start, start + IDS_AT_ONCE) } };
        const found = await gate.run(async () => wholeRows(pieces, await rows.find(some).toArray()));
        read.push(...found);
      }
      return read.toSorted(byNodeAndNumber);
    },

    async removeRows(ids) {
      for (let start = 0; start < ids.length; start += IDS_AT_ONCE) {
        const named = ids.slice(start, start + IDS_AT_ONCE);
        await gate.run(() => removeRows({ rows, pieces }, named), { writes: 0 });
      }
    },

    async purgeRows(document, upToEpoch) {
      const past = { $gte: `${pathOf(document)}/`, $lt: pathOf(document, upToEpoch + 1) };
      await gate.run(
        async () => {
          await pieces.deleteMany({ _id: past });
          await rows.deleteMany({ _id: past });
        },
        { writes: 0 },
      );
    },
  };
}

async function removeRows(
  { rows, pieces }: Pick<RowsDeps, "rows" | "pieces">,
  ids: readonly RowId[],
): Promise<void> {
  const named = ids.map(idOf);
  // Hardly any document has pieces, and one look is much cheaper than to delete none by a thousand names.
  for (const document of new Set(ids.map((id) => pathOf(id.document)))) {
    const any = await pieces.findOne({ _id: below(document) }, { projection: { _id: 1 } });
    // A row without its pieces is no row, so a crash in between leaves nothing that anybody would read.
    if (any !== null) await pieces.deleteMany({ row: { $in: named } });
  }
  await rows.deleteMany({ _id: { $in: named } });
}

function idOf({ document, epoch, node, seq }: RowId): string {
  return pathOf(document, epoch, node, seq);
}

function piecesOf(bytes: number): number {
  return Math.ceil(bytes / PIECE_BYTES);
}

function toLogRow(row: UpdateRow): LogRow {
  const { at, by, update } = row;
  const large = update.length > WHOLE_BYTES;
  return { _id: idOf(row), at, by, update: large ? piecesOf(update.length) : toBinary(update) };
}

function cutRow(row: UpdateRow): RowPiece[] {
  const id = idOf(row);
  return Array.from({ length: piecesOf(row.update.length) }, (_, place) => ({
    _id: `${id}/${pathOf(place)}`,
    row: id,
    body: toBinary(row.update.subarray(place * PIECE_BYTES, (place + 1) * PIECE_BYTES)),
  }));
}

/** The rows with their updates, without those whose update is not all there. */
async function wholeRows(pieces: Collection<RowPiece>, found: readonly LogRow[]): Promise<UpdateRow[]> {
  const read = await Promise.all(
    found.map(async (row) => {
      const { update } = row;
      const bytes = typeof update === "number" ? await joined(pieces, row) : fromBinary(update);
      return bytes === undefined ? [] : [toUpdateRow(row, bytes)];
    }),
  );
  return read.flat();
}

/** The update of a row that was cut; undefined while pieces are missing: it is being removed. */
async function joined(pieces: Collection<RowPiece>, row: LogRow): Promise<Uint8Array | undefined> {
  const found = await pieces
    .find({ _id: below(row._id) })
    .sort({ _id: 1 })
    .toArray();
  if (found.length !== row.update) return undefined;
  return new Uint8Array(Buffer.concat(found.map(({ body }) => fromBinary(body))));
}

function toUpdateRow({ _id, at, by }: LogRow, update: Uint8Array): UpdateRow {
  const [document = "", epoch, node = "", seq] = namesOf(_id);
  return { document, epoch: Number(epoch), node, seq: Number(seq), at, by, update };
}

/** Not the order of the ids: escaped names sort differently. */
function byNodeAndNumber(a: UpdateRow, b: UpdateRow): number {
  if (a.node === b.node) return a.seq - b.seq;
  return a.node < b.node ? -1 : 1;
}
