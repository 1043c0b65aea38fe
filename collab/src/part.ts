import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import * as Y from "yjs";
import type { MergeInput } from "./ports.ts";

/**
 * The body of a stored part: one byte that names the encoding, then zstd. V2 for a base, because it is the smaller one
 * for a whole document (2.7-3.7 times, research/collab.md 3.4); V1 for a delta, because it packs V1 rows without a document.
 */
const CODEC = { deltaV1: 1, baseV2: 2 } as const;

/** Merging is quadratic in the number of updates (yjs#710), so it is done as a tree of this fan-in. */
const FAN_IN = 64;

/** Parts larger than this once unpacked are refused: a damaged or hostile body must not exhaust memory. */
const MAX_PART_BYTES = 512 * 1024 * 1024;

export function mergeTree(updates: readonly Uint8Array[]): Uint8Array {
  let level = [...updates];
  while (level.length > 1) {
    const next: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += FAN_IN) {
      const group = level.slice(i, i + FAN_IN);
      const [only] = group;
      next.push(group.length === 1 && only !== undefined ? only : Y.mergeUpdates(group));
    }
    level = next;
  }
  return level[0] ?? Y.encodeStateAsUpdate(new Y.Doc());
}

function pack(codec: number, state: Uint8Array): Uint8Array {
  const zipped = zstdCompressSync(state);
  const body = new Uint8Array(zipped.length + 1);
  body[0] = codec;
  body.set(zipped, 1);
  return body;
}

function unpack(body: Uint8Array): Uint8Array {
  return zstdDecompressSync(body.subarray(1), { maxOutputLength: MAX_PART_BYTES });
}

function unpackDelta(body: Uint8Array): Uint8Array {
  if (body[0] !== CODEC.deltaV1) throw new Error(`codec ${body[0]} is not that of a delta`);
  return unpack(body);
}

/** Applies a part's body to a document. Throws on a body that is not one. */
export function applyPart(document: Y.Doc, body: Uint8Array, origin: unknown): void {
  const state = unpack(body);
  if (body[0] === CODEC.baseV2) Y.applyUpdateV2(document, state, origin);
  else if (body[0] === CODEC.deltaV1) Y.applyUpdate(document, state, origin);
  else throw new Error(`unknown part codec ${body[0]}`);
}

/** Applies parts and rows in one transaction: one integration pass, one cleanup, one event. */
export function applyStored(
  document: Y.Doc,
  stored: { parts: readonly Uint8Array[]; updates: Iterable<Uint8Array> },
  origin: unknown,
): void {
  document.transact(() => {
    for (const body of stored.parts) applyPart(document, body, origin);
    for (const update of stored.updates) Y.applyUpdate(document, update, origin);
  }, origin);
}

/** The work of a Compactor, synchronous; it runs in a worker for large inputs. */
export function mergeParts(input: MergeInput): Uint8Array {
  if (input.kind === "delta")
    return pack(CODEC.deltaV1, mergeTree([...input.parts.map(unpackDelta), ...input.updates]));
  const document = new Y.Doc();
  applyStored(document, input, undefined);
  const state = Y.encodeStateAsUpdateV2(document);
  document.destroy();
  return pack(CODEC.baseV2, state);
}
