import { createHash } from "node:crypto";
import type { StoredDocument } from "@scriptorium/collab";
import type { StreamEntry } from "@scriptorium/shared";
import { z } from "zod";
import type { StoredStream } from "../storage/archive.ts";
import type { CollectionSpec, Doc } from "../storage/ports.ts";

/** What a store is taken apart into: each piece is consistent in itself and written in one go. */
export type Piece =
  | { readonly kind: "document"; readonly name: string; readonly stored: StoredDocument }
  | { readonly kind: "docs"; readonly spec: CollectionSpec; readonly docs: readonly Doc[] }
  | { readonly kind: "streams"; readonly streams: readonly StoredStream[] };

/**
 * As bytes: the sizes of what follows, JSON with its keys in order, and the blobs that JSON cannot hold, in the order in
 * which it speaks of them. The same content gives the same bytes whatever store it comes from.
 */
export function encodePiece(piece: Piece): Buffer {
  const { json, blobs } = toPlain(piece);
  const text = Buffer.from(canonical(json));
  const sizes = Buffer.alloc(4 * (blobs.length + 2));
  [text.length, blobs.length, ...blobs.map((blob) => blob.length)].forEach((size, i) =>
    sizes.writeUInt32LE(size, 4 * i),
  );
  return Buffer.concat([sizes, text, ...blobs]);
}

/** Throws for bytes that are no piece; whoever asks has made sure that they are what was written. */
export function decodePiece(bytes: Buffer): Piece {
  const count = bytes.readUInt32LE(4);
  let at = 4 * (count + 2);
  const take = (length: number): Buffer => {
    at += length;
    if (at > bytes.length) throw new RangeError("a piece ends before what it announces");
    return bytes.subarray(at - length, at);
  };
  const json: unknown = JSON.parse(take(bytes.readUInt32LE(0)).toString());
  const blobs = Array.from(
    { length: count },
    (_, i) => new Uint8Array(take(bytes.readUInt32LE(4 * (i + 2)))),
  );
  return fromPlain(Plain.parse(json), blobs);
}

/** The things in a piece, each as a piece of its own, with what an operator calls its kind. */
export function* thingsIn(piece: Piece): Generator<readonly [kind: string, thing: Piece]> {
  if (piece.kind === "document") yield ["documents", piece];
  else if (piece.kind === "docs")
    for (const doc of piece.docs) yield [piece.spec.name, { ...piece, docs: [doc] }];
  else for (const stream of piece.streams) yield ["streams", { ...piece, streams: [stream] }];
}

export function digestOf(thing: Piece): string {
  return createHash("sha256").update(encodePiece(thing)).digest("hex");
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
/** Not looked into: a field may have any name, also one that zod would leave out. */
const Fields = z.custom<Readonly<Record<string, unknown>>>(isObject);
const Document = z.custom<Doc>((value) => isObject(value) && "id" in value && typeof value.id === "string");
const Names = z.array(z.string());
const Plain = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("document"),
    name: z.string(),
    at: z.number(),
    head: z.object({
      epoch: z.number(),
      parts: z.array(z.object({ id: z.string(), bytes: z.number(), level: z.number() })),
      retired: z.array(z.number()),
      deleted: z.boolean(),
    }),
    rows: z.array(z.object({ node: z.string(), seq: z.number(), at: z.number(), by: z.string() })),
  }),
  z.object({
    kind: z.literal("docs"),
    spec: z.object({ name: z.string(), unique: z.array(Names), indexes: z.array(Names) }),
    docs: z.array(Document),
  }),
  z.object({
    kind: z.literal("streams"),
    streams: z.array(
      z.object({
        name: z.string(),
        floor: z.number(),
        entries: z.array(
          z.object({
            at: z.number(),
            op: z.string().optional(),
            fields: Fields,
            /** Names of the fields that are blobs. */
            blobs: Names,
          }),
        ),
      }),
    ),
  }),
]);
type Plain = z.infer<typeof Plain>;

function toPlain(piece: Piece): { json: unknown; blobs: readonly Uint8Array[] } {
  if (piece.kind === "docs") return { json: piece, blobs: [] };
  if (piece.kind === "document") {
    const { name, stored } = piece;
    const rows = stored.rows.map(({ node, seq, at, by }) => ({ node, seq, at, by }));
    const blobs = [...stored.parts, ...stored.rows.map((row) => row.update)];
    return { json: { kind: piece.kind, name, at: stored.at, head: stored.head, rows }, blobs };
  }
  const blobs: Uint8Array[] = [];
  const streams = piece.streams.map(({ name, floor, entries }) => ({
    name,
    floor,
    entries: entries.map((entry) => toPlainEntry(entry, blobs)),
  }));
  return { json: { kind: piece.kind, streams }, blobs };
}

function toPlainEntry({ at, op, entry }: StreamEntry, blobs: Uint8Array[]): unknown {
  const fields: [string, unknown][] = [];
  const names: string[] = [];
  for (const [name, value] of Object.entries(entry).toSorted(byKey)) {
    if (value instanceof Uint8Array) {
      names.push(name);
      blobs.push(value);
    } else fields.push([name, value]);
  }
  // fromEntries defines fields; assigning would run the setter of a field that is called __proto__.
  return { at, op, fields: Object.fromEntries(fields), blobs: names };
}

function fromPlain(plain: Plain, blobs: readonly Uint8Array[]): Piece {
  if (plain.kind === "docs") return plain;
  let at = 0;
  const next = (): Uint8Array => {
    const blob = blobs[at++];
    if (blob === undefined) throw new RangeError("a piece speaks of more blobs than it has");
    return blob;
  };
  if (plain.kind === "document") {
    const { name, head } = plain;
    const parts = head.parts.map(next);
    const rows = plain.rows.map((row) => ({ ...row, document: name, epoch: head.epoch, update: next() }));
    return { kind: plain.kind, name, stored: { head, at: plain.at, parts, rows } };
  }
  const streams = plain.streams.map(({ name, floor, entries }) => ({
    name,
    floor,
    entries: entries.map(({ at: position, op, fields, blobs: names }): StreamEntry => {
      const binary = names.map((field): [string, unknown] => [field, next()]);
      const entry = Object.fromEntries([...Object.entries(fields), ...binary]);
      return op === undefined ? { at: position, entry } : { at: position, entry, op };
    }),
  }));
  return { kind: plain.kind, streams };
}

/** JSON with the keys of every object in order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .toSorted(byKey);
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(",")}}`;
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
