import { applyStored, loadDocument, type StoredDocument } from "@scriptorium/collab";
import * as Y from "yjs";
import type { Holding, Target } from "../storage/archive.ts";
import { fill } from "./fill.ts";
import type { Piece } from "./piece.ts";
import { piecesOf } from "./pieces.ts";
import { Refused } from "./refused.ts";
import { demandEqual, type Totals } from "./tally.ts";

export interface MoveDeps {
  /** Held by nobody else, so that it stays as it is. */
  readonly source: Holding;
  /** Of the installation that moves. */
  readonly installation: string;
  /** Opens what is to be filled; `source` is the same for every attempt. */
  readonly open: (source: string) => Promise<Target>;
  readonly watch: (pieces: AsyncIterable<Piece>, doing: string) => AsyncIterable<Piece>;
  /** Everything is there and equal; called before any server can be started on it. */
  readonly onMoved: () => Promise<void>;
}

/**
 * Takes everything to another store, proves that it has arrived, and only then lets servers in. What an earlier attempt
 * has left there is removed first, because the source may have gone on since.
 */
export async function move(deps: MoveDeps): Promise<Totals> {
  const { source, watch } = deps;
  const target = await deps.open(deps.installation);
  try {
    const totals = await fill(target, watch(piecesOf(source), "moving"));
    await demandEqual(totals, watch(piecesOf(target), "checking"));
    await demandSameDocuments(watch(piecesOf(source), "comparing documents"), target);
    await deps.onMoved();
    await target.finish();
    return totals;
  } catch (error) {
    await target.close();
    throw error;
  }
}

/** What a server would load of each document is the same on both sides. */
async function demandSameDocuments(pieces: AsyncIterable<Piece>, { store }: Holding): Promise<void> {
  for await (const piece of pieces) {
    if (piece.kind !== "document") continue;
    const [before, after] = [stateOf(piece.stored), stateOf(await loadDocument(store.documents, piece.name))];
    const same =
      before.text === after.text && before.state.equals(after.state) && before.vector.equals(after.vector);
    if (!same) throw new Refused(`${piece.name} is not the same after the move`);
  }
}

function stateOf({ parts, rows }: StoredDocument): { text: string; state: Buffer; vector: Buffer } {
  const doc = new Y.Doc();
  applyStored(doc, { parts, updates: rows.map(({ update }) => update) }, undefined);
  const state = Buffer.from(Y.encodeStateAsUpdate(doc));
  const vector = Buffer.from(Y.encodeStateVector(doc));
  const text = doc.getText("md").toJSON();
  doc.destroy();
  return { text, state, vector };
}
