import type { RowId, UpdateRow } from "@scriptorium/collab";
import { ByteReader, ByteWriter } from "./bytes.ts";

/** Numbers and string references of one row; generous, it only sizes the first buffer. */
const ROW_OVERHEAD = 40;

/** Rows that follow one another in the log: what compaction removes is mostly one or two of these. */
export interface RowRange extends RowId {
  /** Last number of the range; `seq` is the first. */
  readonly to: number;
}

/** One buffer for a batch: each string is written once and then referred to by its place. */
export function packRows(rows: readonly UpdateRow[]): Uint8Array<ArrayBuffer> {
  const bytes = rows.reduce((sum, row) => sum + row.update.length + ROW_OVERHEAD, 128);
  const writer = new ByteWriter(bytes);
  const strings = new Map<string, number>();
  for (const row of rows) {
    writeString(writer, strings, row.document);
    writer.uint(row.epoch);
    writeString(writer, strings, row.node);
    writer.uint(row.seq);
    writer.uint(row.at);
    writeString(writer, strings, row.by);
    writer.blob(row.update);
  }
  return writer.done();
}

/** The updates are views of the given buffer. */
export function unpackRows(bytes: Uint8Array): UpdateRow[] {
  const reader = new ByteReader(bytes);
  const strings: string[] = [];
  const rows: UpdateRow[] = [];
  while (!reader.done) {
    const document = readString(reader, strings);
    const epoch = reader.uint();
    const node = readString(reader, strings);
    const seq = reader.uint();
    const at = reader.uint();
    const by = readString(reader, strings);
    rows.push({ document, epoch, node, seq, at, by, update: reader.blob() });
  }
  return rows;
}

/** Each id once, those that follow one another side by side. */
export function distinctIds(ids: readonly RowId[]): RowId[] {
  const distinct = new Map(ids.map((id) => [`${id.epoch}/${id.seq}/${id.node}/${id.document}`, id]));
  return [...distinct.values()].toSorted(
    (a, b) =>
      compare(a.document, b.document) || a.epoch - b.epoch || compare(a.node, b.node) || a.seq - b.seq,
  );
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Names exactly the given rows: a range never spans a number that is not among them. */
export function toRanges(ids: readonly RowId[]): RowRange[] {
  const ranges: RowRange[] = [];
  for (const id of ids) {
    const last = ranges.at(-1);
    const follows =
      last !== undefined &&
      id.seq === last.to + 1 &&
      id.node === last.node &&
      id.epoch === last.epoch &&
      id.document === last.document;
    if (follows) ranges[ranges.length - 1] = { ...last, to: id.seq };
    else ranges.push({ document: id.document, epoch: id.epoch, node: id.node, seq: id.seq, to: id.seq });
  }
  return ranges;
}

function writeString(writer: ByteWriter, strings: Map<string, number>, value: string): void {
  const place = strings.get(value);
  writer.uint(place ?? 0);
  if (place !== undefined) return;
  // Places count from 1; 0 announces a string that was not there before.
  strings.set(value, strings.size + 1);
  writer.text(value);
}

function readString(reader: ByteReader, strings: string[]): string {
  const place = reader.uint();
  if (place === 0) {
    const value = reader.text();
    strings.push(value);
    return value;
  }
  const known = strings[place - 1];
  if (known === undefined) throw new RangeError(`packed rows name string ${place} of ${strings.length}`);
  return known;
}
