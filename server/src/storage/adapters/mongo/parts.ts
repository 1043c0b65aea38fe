import { createHash } from "node:crypto";
import type { DocumentStore, StoredPart } from "@scriptorium/collab";
import type { Binary, Collection } from "mongodb";
import { fromBinary, toBinary } from "./bytes.ts";
import type { Gate } from "./gate.ts";
import { below, namesOf, pathOf } from "./keys.ts";
import { insertAll, type Stored } from "./table.ts";

/** Largest piece of a part; a document of the server may have 16 MB. */
export const CHUNK_BYTES = 4 * 1024 * 1024;

/** `_id` is document/part. A part exists once this does, and its chunks were there before. */
export interface PartRow extends Stored {
  readonly at: number;
  readonly chunks: number;
  /** Of the whole body, in hex. */
  readonly sha256: string;
}

/** `_id` is document/part/sha256/place: what was left by another attempt at the same id is never taken for ours. */
export interface ChunkRow extends Stored {
  readonly at: number;
  readonly body: Binary;
}

export interface PartsDeps {
  readonly gate: Gate;
  readonly parts: Collection<PartRow>;
  readonly chunks: Collection<ChunkRow>;
  readonly now: () => number;
}

type PartOperations = Pick<DocumentStore, "putPart" | "getPart" | "removeParts" | "listParts">;

export function mongoParts(deps: PartsDeps): PartOperations {
  const { gate, parts, chunks, now } = deps;
  return {
    putPart: (part) => putPart(deps, part, now()),

    async getPart(document, id) {
      const part = await gate.run(() => parts.findOne({ _id: pathOf(document, id) }));
      if (part === null) return undefined;
      const bodies: Uint8Array[] = [];
      // One at a time, so that no answer is larger than a chunk.
      for (let place = 0; place < part.chunks; place += 1) {
        const chunk = await gate.run(() => chunks.findOne({ _id: chunkId(part._id, part.sha256, place) }));
        if (chunk !== null) bodies.push(fromBinary(chunk.body));
      }
      const body = new Uint8Array(Buffer.concat(bodies));
      if (digest(body) === part.sha256) return body;
      // Chunks go after their part: when that is gone by now, the part was removed while we read it.
      if ((await gate.run(() => parts.findOne({ _id: part._id }))) === null) return undefined;
      throw new Error(`part ${id} of ${document} is damaged`);
    },

    async removeParts(document, ids) {
      const named = ids.map((id) => pathOf(document, id));
      if (named.length === 0) return;
      await gate.run(
        async () => {
          await parts.deleteMany({ _id: { $in: named } });
          for (const id of named) await chunks.deleteMany({ _id: below(id) });
        },
        { writes: 0 },
      );
    },

    async listParts(document) {
      return gate.run(async () => {
        const range = below(pathOf(document));
        const whole = await parts.find({ _id: range }).project<Stored & { at: number }>({ at: 1 }).toArray();
        // Chunks of parts that were never finished are listed too: nobody else would ever find them.
        const begun = await chunks.find({ _id: range }).project<Stored & { at: number }>({ at: 1 }).toArray();
        const found = new Map([...begun, ...whole].map(({ _id, at }) => [namesOf(_id)[1] ?? "", at]));
        return [...found].map(([id, at]) => ({ id, at }));
      });
    },
  };
}

async function putPart(
  { gate, parts, chunks }: PartsDeps,
  { document, id, body: given }: StoredPart,
  at: number,
): Promise<void> {
  const body = Uint8Array.from(given);
  const _id = pathOf(document, id);
  if ((await gate.run(() => parts.findOne({ _id }))) !== null) return;
  const sha256 = digest(body);
  const count = Math.ceil(body.length / CHUNK_BYTES);
  // One at a time, so that what people type gets in between the pieces of a large snapshot.
  for (let place = 0; place < count; place += 1) {
    const piece = toBinary(body.subarray(place * CHUNK_BYTES, (place + 1) * CHUNK_BYTES));
    const chunk = { _id: chunkId(_id, sha256, place), at, body: piece };
    await gate.run(() => insertAll(chunks, [chunk]), { writes: piece.length() });
  }
  const part = { _id, at, chunks: count, sha256 };
  await gate.run(() => insertAll(parts, [part]), { writes: _id.length + sha256.length + 12 });
}

function chunkId(part: string, sha256: string, place: number): string {
  return `${part}/${pathOf(sha256, place)}`;
}

function digest(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("hex");
}
