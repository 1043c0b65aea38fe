import type { DocumentStore, RowId } from "../ports.ts";
import { readHead, readParts } from "../snapshot.ts";
import { keyOf, type Seat } from "./seat.ts";

const READ_ATTEMPTS = 5;

/**
 * Reads from the log what other nodes have committed and this one does not have. Rows first, the head second, as in
 * `loadDocument`: a row that is gone by the time it is asked for is inside a part that the head, read later, names.
 * `ended`: the document has another epoch now. `unsure`: not everything that was announced was seen to be there.
 */
export async function readFromLog(
  store: DocumentStore,
  seat: Seat,
  node: string,
): Promise<"current" | "unsure" | "ended"> {
  const { room, document } = seat;
  const reading = seat.marks.beginReading();
  const names = await store.listRows(document, room.epoch);
  const foreign = names.filter((name) => name.node !== node && !seat.marks.has(name.node, name.seq));
  const missing = foreign.filter((name) => !seat.read.has(keyOf(name)));
  const ids = missing.map((name): RowId => ({ ...name, document, epoch: room.epoch }));
  const rows = ids.length === 0 ? [] : await store.getRows(ids);
  const found = await readNewParts(store, seat);
  if (found === "ended") return "ended";
  room.settle();
  room.integrate({ parts: found.bodies, updates: rows.map((row) => row.update) });
  room.settle();
  seat.parts = found.named;
  // Those that are no longer listed are in a part. Without numbers that follow each other there is no mark to move: of
  // rows that are being committed now, a later one can be seen before an earlier one.
  const read = new Set(foreign.map(keyOf));
  seat.read = read;
  const isListed = (other: string, seq: number): boolean => read.has(keyOf({ node: other, seq }));
  return seat.marks.finishReading(reading, isListed) ? "current" : "unsure";
}

async function readNewParts(
  store: DocumentStore,
  { room, document, parts }: Seat,
): Promise<{ named: ReadonlySet<string>; bodies: Uint8Array[] } | "ended"> {
  for (let attempt = 0; attempt < READ_ATTEMPTS; attempt += 1) {
    const { head } = await readHead(store, document);
    if (head.deleted || head.epoch !== room.epoch) return "ended";
    const bodies = await readParts(
      store,
      document,
      head.parts.filter(({ id }) => !parts.has(id)),
    );
    // Undefined: a newer head has replaced a part meanwhile.
    if (bodies !== undefined) return { named: new Set(head.parts.map(({ id }) => id)), bodies };
  }
  throw new Error(`the head of ${document} kept moving while it was read`);
}
