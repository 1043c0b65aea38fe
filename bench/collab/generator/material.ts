import * as Y from "yjs";
import { createRandom } from "../measure/stats.ts";
import { FIELD } from "../wire/typing.ts";

/** Documents to open and to type into; the same for every server. */
export type Material =
  /** Written by several people with jumps, pauses and corrections, letter by letter. */
  | { readonly kind: "edited"; readonly edits: number; readonly lettersLeft: number }
  /** Paragraphs of two authors in turn, so many bytes when encoded. */
  | { readonly kind: "text"; readonly bytes: number };

export interface Built {
  /** In the order in which they were made; together they are the document. */
  readonly updates: Uint8Array[];
  readonly stateBytes: number;
  readonly letters: number;
  readonly stateVector: Map<number, number>;
}

const SEED = 20_260_101;
const AUTHORS = 8;
const EDITS_PER_AUTHOR_TURN = 400;
const EDITS_PER_MESSAGE = 200;
const JUMP_CHANCE = 0.02;
const PARAGRAPH = "The quick brown fox jumps over the lazy dog; again. ";
const PARAGRAPHS_PER_MESSAGE = 500;

/** Deletes as often as it takes to have `left` letters after `edits` edits. */
function writeEdited(text: Y.Text, doc: Y.Doc, wanted: { edits: number; left: number }): void {
  const random = createRandom(SEED);
  const deleteChance = (wanted.edits - wanted.left) / (2 * wanted.edits);
  let at = 0;
  for (let done = 0; done < wanted.edits; ) {
    doc.clientID = 1_000_000_007 + (Math.floor(done / EDITS_PER_AUTHOR_TURN) % AUTHORS) * 104_729;
    doc.transact(() => {
      for (let count = Math.min(EDITS_PER_MESSAGE, wanted.edits - done); count > 0; count -= 1, done += 1) {
        if (random() < JUMP_CHANCE) at = Math.floor(random() * (text.length + 1));
        if (at > 0 && random() < deleteChance) {
          at -= 1;
          text.delete(at, 1);
        } else {
          text.insert(at, "abcdefghijklmnopqrstuvwxyz ".charAt(Math.floor(random() * 27)));
          at += 1;
        }
      }
    });
  }
}

function writeText(text: Y.Text, doc: Y.Doc, bytes: number): void {
  const perParagraph = PARAGRAPH.length + 20;
  for (let written = 0, author = 0; written < bytes; author += 1) {
    for (let count = 0; count < PARAGRAPHS_PER_MESSAGE && written < bytes; count += 1, written += perParagraph) {
      doc.clientID = 1_000_000_007 + (count % 2);
      text.insert(text.length, PARAGRAPH);
    }
  }
}

export function build(material: Material): Built {
  const doc = new Y.Doc();
  const text = doc.getText(FIELD);
  const updates: Uint8Array[] = [];
  let pending: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array) => {
    pending.push(update);
    if (material.kind === "text" && pending.length < PARAGRAPHS_PER_MESSAGE) return;
    updates.push(pending.length === 1 ? update : Y.mergeUpdates(pending));
    pending = [];
  });
  if (material.kind === "edited") writeEdited(text, doc, { edits: material.edits, left: material.lettersLeft });
  else writeText(text, doc, material.bytes);
  if (pending.length > 0) updates.push(Y.mergeUpdates(pending));
  const state = Y.encodeStateAsUpdate(doc);
  return {
    updates,
    stateBytes: state.length,
    letters: text.length,
    stateVector: Y.decodeStateVector(Y.encodeStateVectorFromUpdate(state)),
  };
}
