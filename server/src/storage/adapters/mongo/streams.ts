import { Failure, type AppendOutcome, type StreamEntry, type Streams } from "@scriptorium/shared";
import type { Binary, Collection } from "mongodb";
import { fromBinary, toBinary } from "./bytes.ts";
import type { Gate } from "./gate.ts";
import { below, lastNumber, pathOf } from "./keys.ts";
import { insertAll, type Stored } from "./table.ts";

/** `_id` is stream/at. Fields are JSON text, because a field may have any name, and bytes beside it. */
export interface EntryRow extends Stored {
  /** stream/op, unique where present. */
  readonly op?: string;
  readonly json: string;
  readonly binary?: readonly (readonly [name: string, bytes: Binary])[];
}

export interface StreamsDeps {
  readonly gate: Gate;
  readonly entries: Collection<EntryRow>;
  /** Floors of streams, `_id` is stream/floor: what is below was trimmed and stays taken. The highest counts. */
  readonly floors: Collection<Stored>;
}

/** Beyond, something is wrong: each attempt removes what stood in its way. */
const ATTEMPTS = 3;

/**
 * Positions and ops are unique keys. A position that was trimmed away has no row to collide with, so an append looks at
 * the stream's floor before and after its insert:
 *
 * - before it is above the position: the position is of the past, nothing is inserted;
 * - after it is still not above it: when the insert was done the position was not trimmed, so the win is real;
 * - it rose in between: the row may have been the head and been trimmed since, or have come after the trim. Nobody can
 *   tell, so nobody is told: the row, which is trimmed either way, is removed and the append fails as if its answer
 *   had been lost.
 *
 * A trim therefore writes the floor before it deletes. Rows below the floor count for nothing, wherever they come from.
 */
export function mongoStreams({ gate, entries, floors }: StreamsDeps): Streams {
  const floorOf = (stream: string): Promise<number> => highestFloor(floors, stream);

  const isSeen = async (stream: string, op: string): Promise<boolean> => {
    const holder = await entries.findOne({ op }, { projection: { _id: 1 } });
    if (holder === null) return false;
    // The floor is read after the holder: one that is not below it now was not below it when it was written.
    if (lastNumber(holder._id) >= (await floorOf(stream))) return true;
    await entries.deleteOne({ _id: holder._id });
    return false;
  };

  const append = async (stream: string, at: number, row: EntryRow): Promise<AppendOutcome> => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const floor = await floorOf(stream);
      const refused = at < floor || (await insertAll(entries, [row])).length > 0;
      if (!refused) {
        if (at >= (await floorOf(stream))) return "ok";
        await entries.deleteOne({ _id: row._id });
        throw new Failure("try_later", "the stream was trimmed meanwhile; whether this was done is unknown");
      }
      if (row.op !== undefined && (await isSeen(stream, row.op))) return "seen";
      const holder = await entries.findOne({ _id: row._id }, { projection: { _id: 1 } });
      if (at < floor || holder !== null) return "taken";
      // What refused it was below the floor and is gone now: the position is free.
    }
    throw new Failure("try_later", "the stream is too busy");
  };

  return {
    async append(name, { at, entry, op }) {
      if (!Number.isSafeInteger(at) || at < 1) throw new RangeError(`no such position: ${at}`);
      const stream = pathOf(name);
      const row = toRow(stream, { at, entry, ...(op === undefined ? {} : { op }) });
      return gate.run(() => append(stream, at, row), { writes: sizeOf(row) });
    },

    async read(name, from, limit) {
      if (limit < 1) return [];
      const stream = pathOf(name);
      return gate.run(async () => {
        const first = Math.max(from, await floorOf(stream));
        const range = { ...below(stream), $gte: `${stream}/${pathOf(first)}` };
        const rows = await entries.find({ _id: range }).sort({ _id: 1 }).limit(limit).toArray();
        return rows.map((row) => toEntry(stream, row));
      });
    },

    async head(name) {
      const stream = pathOf(name);
      return gate.run(async () => {
        const row = await entries.findOne({ _id: below(stream) }, { sort: { _id: -1 } });
        return row === null ? undefined : toEntry(stream, row);
      });
    },

    async trim(name, before) {
      const stream = pathOf(name);
      await gate.run(() => trim({ entries, floors }, stream, before), { writes: stream.length });
    },
  };
}

async function highestFloor(floors: StreamsDeps["floors"], stream: string): Promise<number> {
  const highest = await floors.findOne({ _id: below(stream) }, { sort: { _id: -1 } });
  return highest === null ? 1 : lastNumber(highest._id);
}

/** Floors are inserted, never changed: two trims at once leave two, of which the higher counts. */
async function trim(
  { entries, floors }: Pick<StreamsDeps, "entries" | "floors">,
  stream: string,
  before: number,
): Promise<void> {
  const head = await entries.findOne({ _id: below(stream) }, { sort: { _id: -1 }, projection: { _id: 1 } });
  if (head === null) return;
  // Not below what another trim has reached, whose deletes a crash may have cut short.
  const floor = Math.max(Math.min(before, lastNumber(head._id)), await highestFloor(floors, stream));
  if (floor <= 1) return;
  const mark = `${stream}/${pathOf(floor)}`;
  await insertAll(floors, [{ _id: mark }]);
  const past = { ...below(stream), $lt: mark };
  await entries.deleteMany({ _id: past });
  await floors.deleteMany({ _id: past });
}

export function toRow(stream: string, { at, entry, op }: StreamEntry): EntryRow {
  const fields = Object.entries(entry);
  const binary = fields.flatMap(([name, value]): [string, Binary][] =>
    value instanceof Uint8Array ? [[name, toBinary(value)]] : [],
  );
  const plain = fields.filter(([, value]) => !(value instanceof Uint8Array));
  return {
    _id: `${stream}/${pathOf(at)}`,
    ...(op === undefined ? {} : { op: `${stream}/${op}` }),
    json: JSON.stringify(Object.fromEntries(plain)),
    ...(binary.length === 0 ? {} : { binary }),
  };
}

export function toEntry(stream: string, { _id, op, json, binary = [] }: EntryRow): StreamEntry {
  const plain: StreamEntry["entry"] = JSON.parse(json);
  const bytes = binary.map(([name, value]): [string, unknown] => [name, fromBinary(value)]);
  const at = lastNumber(_id);
  // fromEntries defines fields; assigning would run the setter of a field that is called __proto__.
  const entry = bytes.length === 0 ? plain : Object.fromEntries([...Object.entries(plain), ...bytes]);
  return op === undefined ? { at, entry } : { at, entry, op: op.slice(stream.length + 1) };
}

function sizeOf({ _id, op = "", json, binary = [] }: EntryRow): number {
  return binary.reduce((sum, [, bytes]) => sum + bytes.length(), _id.length + op.length + json.length);
}
