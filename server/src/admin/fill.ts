import { headStream } from "@scriptorium/collab";
import type { Target } from "../storage/archive.ts";
import type { Piece } from "./piece.ts";
import { createTally, type Totals } from "./tally.ts";

/** Pieces under way: most of the time a store is waited for. */
const AT_ONCE = 8;
const ROWS_AT_ONCE = 1_000;

/** Writes pieces into a target and says what they were. Every write can be repeated. */
export async function fill(
  target: Pick<Target, "store" | "archive">,
  pieces: AsyncIterable<Piece>,
): Promise<Totals> {
  const tally = createTally();
  const underWay = new Set<Promise<void>>();
  const failures: unknown[] = [];
  for await (const piece of pieces) {
    tally.add(piece);
    const written = write(target, piece)
      .catch((error: unknown) => void failures.push(error))
      .finally(() => underWay.delete(written));
    underWay.add(written);
    if (underWay.size >= AT_ONCE) await Promise.race(underWay);
    if (failures.length > 0) break;
  }
  await Promise.all(underWay);
  if (failures.length > 0) throw failures[0];
  return tally.totals();
}

async function write({ store, archive }: Pick<Target, "store" | "archive">, piece: Piece): Promise<void> {
  if (piece.kind === "docs") return archive.addDocs(piece.spec, piece.docs);
  if (piece.kind === "streams") return archive.addStreams(piece.streams);
  const { name: document, stored } = piece;
  const { head, at, parts, rows } = stored;
  for (const [place, { id }] of head.parts.entries()) {
    const body = parts[place];
    if (body === undefined) throw new Error(`the head of ${document} names a part that it was given without`);
    await store.documents.putPart({ document, id, body });
  }
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE)
    await store.documents.appendRows(rows.slice(from, from + ROWS_AT_ONCE));
  // Without an entry everything is in rows, as for a document that was never compacted.
  if (at === 0) return undefined;
  await store.documents.heads.append(headStream(document), { at, entry: { ...head } });
  if (at > 1) await store.documents.heads.trim(headStream(document), at);
}
