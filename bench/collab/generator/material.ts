import * as Y from "yjs";
import { createRandom, sum } from "../measure/stats.ts";
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
  /** Letters ever typed: the sum of the state vector. */
  readonly clocks: number;
}

const SEED = 20_260_101;
const AUTHORS = 8;
const EDITS_PER_AUTHOR_TURN = 400;
const EDITS_PER_MESSAGE = 200;
/** Mean length of a burst in letters, and how often the next one is elsewhere. */
const BURST = 12;
const JUMP_CHANCE = 0.3;
const LETTERS = "abcdefghijklmnopqrstuvwxyz ";
const PARAGRAPH = "The quick brown fox jumps over the lazy dog; again. ";
/** What Yjs adds to a paragraph by another author than the one before. */
const BYTES_PER_ITEM = 10;
const PARAGRAPHS_PER_MESSAGE = 500;

/** Types in bursts and corrects in smaller ones, so that `left` letters remain after `edits` edits. */
function writeEdited(text: Y.Text, doc: Y.Doc, wanted: { edits: number; left: number }): void {
  const random = createRandom(SEED);
  const deleteChance = (wanted.edits - wanted.left) / (2 * wanted.edits);
  let at = 0;
  let burst = 0;
  let deleting = false;
  const edit = (): void => {
    if (burst === 0) {
      deleting = random() < deleteChance;
      burst = 1 + Math.floor(random() * 2 * BURST);
      if (random() < JUMP_CHANCE) at = Math.floor(random() * (text.length + 1));
    }
    burst -= 1;
    if (deleting && at > 0) {
      at -= 1;
      text.delete(at, 1);
    } else {
      text.insert(at, LETTERS.charAt(Math.floor(random() * LETTERS.length)));
      at += 1;
    }
  };
  for (let done = 0; done < wanted.edits;) {
    doc.clientID = 1_000_000_007 + (Math.floor(done / EDITS_PER_AUTHOR_TURN) % AUTHORS) * 104_729;
    const end = Math.min(done + EDITS_PER_MESSAGE, wanted.edits);
    doc.transact(() => {
      for (; done < end; done += 1) edit();
    });
  }
}

function writeText(text: Y.Text, doc: Y.Doc, bytes: number): void {
  const paragraphs = Math.ceil(bytes / (PARAGRAPH.length + BYTES_PER_ITEM));
  for (let count = 0; count < paragraphs; count += 1) {
    doc.clientID = 1_000_000_007 + (count % 2);
    text.insert(text.length, PARAGRAPH);
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
  if (material.kind === "edited")
    writeEdited(text, doc, { edits: material.edits, left: material.lettersLeft });
  else writeText(text, doc, material.bytes);
  if (pending.length > 0) updates.push(Y.mergeUpdates(pending));
  const state = Y.encodeStateAsUpdate(doc);
  return {
    updates,
    stateBytes: state.length,
    letters: text.length,
    clocks: sum(Y.decodeStateVector(Y.encodeStateVector(doc)).values()),
  };
}
