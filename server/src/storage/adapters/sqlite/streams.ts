import type { StreamEntry, Streams } from "@scriptorium/shared";
import type { ReadCalls, StoredEntry, WriteCalls } from "./calls.ts";
import { decodeEntry, encodeEntry } from "./entry-codec.ts";
import type { Lane } from "./lane.ts";

export function sqliteStreams(writer: Lane<WriteCalls>, reader: Lane<ReadCalls>): Streams {
  return {
    async append(stream, { at, entry, op }) {
      if (!Number.isSafeInteger(at) || at < 1) throw new RangeError(`no such position: ${at}`);
      const body = encodeEntry(entry);
      return writer.call("append", { stream, at, op, body }, { bytes: body.length });
    },

    async read(stream, from, limit) {
      const found = await reader.call("entries", { stream, from, limit });
      return found.map(toEntry);
    },

    async head(stream) {
      const found = await reader.call("head", { stream });
      return found && toEntry(found);
    },

    async trim(stream, before) {
      await writer.call("trim", { stream, before });
    },
  };
}

function toEntry({ at, op, body }: StoredEntry): StreamEntry {
  const entry = decodeEntry(body);
  return op === undefined ? { at, entry } : { at, entry, op };
}
