import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import * as Y from "yjs";

/** The field that everybody types into. */
export const FIELD = "md";

/** Source: yjs `structs/Item.js`, the info byte of an item and the number of ContentString. */
const STRING = 4;
const HAS_ORIGIN = 0x80;
const HAS_RIGHT_ORIGIN = 0x40;
const CONTENT_BITS = 0x1f;
const PARENT_IS_A_NAME = 1;
const ALPHABET = "abcdefghijklmnopqrstuvwxyz";

/** A person who types one letter after the other, each an update of its own; clocks count from 0. */
export interface Typer {
  readonly client: number;
  /** The update that types the letter with this clock, just as a provider would send it. */
  update(clock: number): Uint8Array;
  /** The same letters as one update, to compare with at the end. */
  whole(letters: number): Uint8Array;
}

function letters(from: number, count: number): string {
  let text = "";
  for (let clock = from; clock < from + count; clock += 1) text += ALPHABET.charAt(clock % ALPHABET.length);
  return text;
}

export function createTyper(client: number): Typer {
  function item(clock: number, text: string): Uint8Array {
    const encoder = encoding.createEncoder();
    encoding.writeVarUint(encoder, 1);
    encoding.writeVarUint(encoder, 1);
    encoding.writeVarUint(encoder, client);
    encoding.writeVarUint(encoder, clock);
    if (clock === 0) {
      encoding.writeUint8(encoder, STRING);
      encoding.writeVarUint(encoder, PARENT_IS_A_NAME);
      encoding.writeVarString(encoder, FIELD);
    } else {
      encoding.writeUint8(encoder, STRING | HAS_ORIGIN);
      encoding.writeVarUint(encoder, client);
      encoding.writeVarUint(encoder, clock - 1);
    }
    encoding.writeVarString(encoder, text);
    encoding.writeVarUint(encoder, 0);
    return encoding.toUint8Array(encoder);
  }
  return {
    client,
    update: (clock) => item(clock, letters(clock, 1)),
    whole: (count) => item(0, letters(0, count)),
  };
}

/** Letters `from` to `from + size` of a client, as an update brings them. */
export interface Range {
  readonly client: number;
  readonly from: number;
  readonly size: number;
}

/** Adds to the last range when it goes on where that one ended. */
function addRange(ranges: Range[], next: Range): void {
  const last = ranges.at(-1);
  if (last !== undefined && last.client === next.client && last.from + last.size === next.from) {
    ranges[ranges.length - 1] = { ...last, size: last.size + next.size };
  } else {
    ranges.push(next);
  }
}

function skipId(decoder: decoding.Decoder): void {
  decoding.readVarUint(decoder);
  decoding.readVarUint(decoder);
}

/** Length of the typed string item at the decoder, or undefined when it is anything else. */
function readTyped(decoder: decoding.Decoder): number | undefined {
  const info = decoding.readUint8(decoder);
  if ((info & CONTENT_BITS) !== STRING) return undefined;
  if ((info & HAS_ORIGIN) !== 0) skipId(decoder);
  if ((info & HAS_RIGHT_ORIGIN) !== 0) skipId(decoder);
  if ((info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN)) === 0) {
    if (decoding.readVarUint(decoder) !== PARENT_IS_A_NAME) return undefined;
    decoding.readVarString(decoder);
  }
  const bytes = decoding.readVarUint(decoder);
  for (let end = decoder.pos + bytes; decoder.pos < end; decoder.pos += 1) {
    if ((decoder.arr[decoder.pos] ?? 0xff) > 0x7f) return undefined;
  }
  return bytes;
}

/** The ranges of an update that holds nothing but typing in ASCII: ten times cheaper than the general reading. */
function readTypingRanges(update: Uint8Array): Range[] | undefined {
  const decoder = decoding.createDecoder(update);
  const ranges: Range[] = [];
  for (let clients = decoding.readVarUint(decoder); clients > 0; clients -= 1) {
    let structs = decoding.readVarUint(decoder);
    const client = decoding.readVarUint(decoder);
    let clock = decoding.readVarUint(decoder);
    for (; structs > 0; structs -= 1) {
      const size = readTyped(decoder);
      if (size === undefined) return undefined;
      addRange(ranges, { client, from: clock, size });
      clock += size;
    }
  }
  return ranges;
}

/** Every clock range that an update (encoding V1) carries. */
export function readRanges(update: Uint8Array): Range[] {
  const typed = readTypingRanges(update);
  if (typed !== undefined) return typed;
  const ranges: Range[] = [];
  for (const struct of Y.decodeUpdate(update).structs) {
    if (struct instanceof Y.Skip) continue;
    addRange(ranges, { client: struct.id.client, from: struct.id.clock, size: struct.length });
  }
  return ranges;
}

/** A cursor as y-codemirror.next publishes it: name, colours, and two relative positions. */
export function cursor(client: number, at: number, clock: number): Uint8Array {
  const position = { type: null, tname: FIELD, item: { client, clock: Math.max(0, at - 1) }, assoc: 0 };
  const state = {
    user: { name: `Person ${client % 1000}`, color: "#30bced", colorLight: "#30bced33" },
    cursor: { anchor: position, head: position },
  };
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, 1);
  encoding.writeVarUint(encoder, client);
  encoding.writeVarUint(encoder, clock);
  encoding.writeVarString(encoder, JSON.stringify(state));
  return encoding.toUint8Array(encoder);
}

/** Who an awareness message speaks of, and with which clock. */
export function readAwareness(update: Uint8Array): { client: number; clock: number }[] {
  const decoder = decoding.createDecoder(update);
  const seen: { client: number; clock: number }[] = [];
  for (let count = decoding.readVarUint(decoder); count > 0; count -= 1) {
    const client = decoding.readVarUint(decoder);
    seen.push({ client, clock: decoding.readVarUint(decoder) });
    decoding.readVarUint8Array(decoder);
  }
  return seen;
}
