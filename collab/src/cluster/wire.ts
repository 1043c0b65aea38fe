import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import type { PresenceEntry } from "../presence.ts";

/** What nodes tell each other about one document. The document is named by the channel. */
export type ClusterMessage =
  /** The node has it open from now on: answer with what you have, and whom you show. */
  | { readonly type: "join"; readonly node: string; readonly epoch: number; readonly last: number }
  | { readonly type: "leave"; readonly node: string; readonly epoch: number; readonly last: number }
  /** `last` is the number of the last row of this document that the node has committed; 0 for none since it was loaded. */
  | { readonly type: "digest"; readonly node: string; readonly epoch: number; readonly last: number }
  /** Rows `first` to `last` are committed; this is what they hold. */
  | {
      readonly type: "rows";
      readonly node: string;
      readonly epoch: number;
      readonly first: number;
      readonly last: number;
      readonly update: Uint8Array;
    };

/** Who is on a document at one node. */
export interface PresenceMessage {
  readonly node: string;
  /** Whether the entries are everybody that the node shows, or only what has changed. */
  readonly whole: boolean;
  readonly entries: readonly PresenceEntry[];
}

/** The first byte; a node of another version drops what it cannot know. */
export const WIRE_VERSION = 1;
const TYPES = ["join", "leave", "digest", "rows"] as const;
const MAX_NODE_CHARS = 64;
/** More people than a document can have; beyond, the message is not one of ours. */
const MAX_ENTRIES = 100_000;

export function encodeMessage(message: ClusterMessage): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeUint8(encoder, WIRE_VERSION);
  encoding.writeUint8(encoder, TYPES.indexOf(message.type));
  encoding.writeVarString(encoder, message.node);
  encoding.writeVarUint(encoder, message.epoch);
  encoding.writeVarUint(encoder, message.last);
  if (message.type === "rows") {
    encoding.writeVarUint(encoder, message.first);
    encoding.writeVarUint8Array(encoder, message.update);
  }
  return encoding.toUint8Array(encoder);
}

/** Undefined for anything that `encodeMessage` could not have made. */
export function decodeMessage(bytes: Uint8Array): ClusterMessage | undefined {
  return read(bytes, (decoder) => {
    const type = TYPES[decoding.readUint8(decoder)];
    const node = readNode(decoder);
    const epoch = decoding.readVarUint(decoder);
    const last = decoding.readVarUint(decoder);
    if (type === undefined || node === undefined || epoch < 1) return undefined;
    if (type !== "rows") return { type, node, epoch, last };
    const first = decoding.readVarUint(decoder);
    // A copy: the bytes may be a view into a buffer that the bus uses again.
    const update = decoding.readVarUint8Array(decoder).slice();
    return first >= 1 && first <= last && update.length > 0
      ? { type, node, epoch, first, last, update }
      : undefined;
  });
}

/** Characters of states in one message of presence; in UTF-8 less than the 1 MiB that the bus takes at most. */
const PRESENCE_CHARS = 256 * 1024;

/** As many messages as it takes, in their order. A state has `awarenessBytes` at most, so each finds room. */
export function presencePieces(entries: readonly PresenceEntry[]): PresenceEntry[][] {
  const pieces: PresenceEntry[][] = [];
  let chars = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    if (chars + entry.state.length > PRESENCE_CHARS) {
      pieces.push([]);
      chars = 0;
    }
    pieces.at(-1)?.push(entry);
    chars += entry.state.length;
  }
  return pieces;
}

export function encodePresence({ node, whole, entries }: PresenceMessage): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeUint8(encoder, WIRE_VERSION);
  encoding.writeVarString(encoder, node);
  encoding.writeUint8(encoder, whole ? 1 : 0);
  encoding.writeVarUint(encoder, entries.length);
  for (const { client, clock, state } of entries) {
    encoding.writeVarUint(encoder, client);
    encoding.writeVarUint(encoder, clock);
    encoding.writeVarString(encoder, state);
  }
  return encoding.toUint8Array(encoder);
}

export function decodePresence(bytes: Uint8Array): PresenceMessage | undefined {
  return read(bytes, (decoder) => {
    const node = readNode(decoder);
    const whole = decoding.readUint8(decoder);
    const count = decoding.readVarUint(decoder);
    if (node === undefined || whole > 1 || count > MAX_ENTRIES) return undefined;
    const entries: PresenceEntry[] = [];
    for (let i = 0; i < count; i += 1) {
      const client = decoding.readVarUint(decoder);
      const clock = decoding.readVarUint(decoder);
      const state = decoding.readVarString(decoder);
      if (!isState(state)) return undefined;
      entries.push({ client, clock, state });
    }
    return { node, whole: whole === 1, entries };
  });
}

/** A node is alive, or takes its leave. */
export function encodeBeat(node: string, leaving: boolean): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeUint8(encoder, WIRE_VERSION);
  encoding.writeVarString(encoder, node);
  encoding.writeUint8(encoder, leaving ? 1 : 0);
  return encoding.toUint8Array(encoder);
}

export function decodeBeat(bytes: Uint8Array): { node: string; leaving: boolean } | undefined {
  return read(bytes, (decoder) => {
    const node = readNode(decoder);
    const leaving = decoding.readUint8(decoder);
    return node === undefined || leaving > 1 ? undefined : { node, leaving: leaving === 1 };
  });
}

function read<T>(bytes: Uint8Array, parse: (decoder: decoding.Decoder) => T | undefined): T | undefined {
  try {
    const decoder = decoding.createDecoder(bytes);
    if (decoding.readUint8(decoder) !== WIRE_VERSION) return undefined;
    const message = parse(decoder);
    return decoding.hasContent(decoder) ? undefined : message;
  } catch {
    // lib0 throws on bytes that end too early and on numbers that are too large: not one of ours.
    return undefined;
  }
}

function readNode(decoder: decoding.Decoder): string | undefined {
  const node = decoding.readVarString(decoder);
  return node !== "" && node.length <= MAX_NODE_CHARS ? node : undefined;
}

function isState(state: string): boolean {
  const value: unknown = JSON.parse(state);
  return typeof value === "object" && !Array.isArray(value);
}
