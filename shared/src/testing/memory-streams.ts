import type { AppendOutcome, StreamEntry, Streams } from "../storage/streams.ts";

interface MemoryStream {
  /** Ascending by position. */
  entries: StreamEntry[];
  /** Positions below were trimmed. They stay taken: a writer that slept through the trim must not win one of them. */
  floor: number;
}

/** The reference implementation of the port: every store must behave like this one. Keeps nothing across a restart. */
export function memoryStreams(): Streams {
  const streams = new Map<string, MemoryStream>();

  const open = (name: string): MemoryStream => {
    const stream = streams.get(name) ?? { entries: [], floor: 1 };
    streams.set(name, stream);
    return stream;
  };

  return {
    async append(name, entry): Promise<AppendOutcome> {
      if (!Number.isSafeInteger(entry.at) || entry.at < 1)
        throw new RangeError(`no such position: ${entry.at}`);
      const { entries, floor } = open(name);
      if (entry.op !== undefined && entries.some((kept) => kept.op === entry.op)) return "seen";
      if (entry.at < floor || entries.some((kept) => kept.at === entry.at)) return "taken";
      const next = entries.findIndex((kept) => kept.at > entry.at);
      entries.splice(next < 0 ? entries.length : next, 0, copyEntry(entry));
      return "ok";
    },

    async read(name, from, limit) {
      const { entries } = open(name);
      return entries
        .filter((kept) => kept.at >= from)
        .slice(0, limit)
        .map(copyEntry);
    },

    async head(name) {
      const last = open(name).entries.at(-1);
      return last && copyEntry(last);
    },

    async trim(name, before) {
      const stream = open(name);
      const head = stream.entries.at(-1);
      if (head === undefined) return;
      stream.floor = Math.max(stream.floor, Math.min(before, head.at));
      stream.entries = stream.entries.filter((kept) => kept.at >= stream.floor);
    },
  };
}

/** What a store would give back: JSON values and bytes of its own, nothing shared with the caller, nothing undefined. */
function copyEntry(kept: StreamEntry): StreamEntry {
  const fields = Object.entries(kept.entry).flatMap(([key, value]): [string, unknown][] => {
    if (value instanceof Uint8Array) return [[key, Uint8Array.from(value)]];
    return value === undefined ? [] : [[key, JSON.parse(JSON.stringify(value))]];
  });
  const entry = Object.fromEntries(fields);
  return kept.op === undefined ? { at: kept.at, entry } : { at: kept.at, entry, op: kept.op };
}
