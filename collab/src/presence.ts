import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import type { Identity } from "./ports.ts";

/** One client's entry of an awareness update, as y-protocols encodes it. */
export interface PresenceEntry {
  readonly client: number;
  readonly clock: number;
  /** JSON of the state; "null" when the client leaves. */
  readonly state: string;
}

/** Entries that one message may carry. A y-websocket client sends back what it was sent: everybody on the document. */
const MAX_ENTRIES = 10_000;

/** The entries of an awareness update, or undefined when it is malformed or carries too many. */
export function readPresence(update: Uint8Array): PresenceEntry[] | undefined {
  try {
    const decoder = decoding.createDecoder(update);
    const count = decoding.readVarUint(decoder);
    if (count > MAX_ENTRIES) return undefined;
    const entries: PresenceEntry[] = [];
    for (let i = 0; i < count; i += 1) {
      const client = decoding.readVarUint(decoder);
      const clock = decoding.readVarUint(decoder);
      entries.push({ client, clock, state: decoding.readVarString(decoder) });
    }
    return entries;
  } catch {
    // lib0 throws on truncated input; that is what "malformed" means here, and the caller closes the sender.
    return undefined;
  }
}

export function writePresence(entries: readonly PresenceEntry[]): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, entries.length);
  for (const entry of entries) {
    encoding.writeVarUint(encoder, entry.client);
    encoding.writeVarUint(encoder, entry.clock);
    encoding.writeVarString(encoder, entry.state);
  }
  return encoding.toUint8Array(encoder);
}

/** The state with `user` replaced by who the server knows this is, or undefined when it is not a JSON object or null. */
export function signState(state: string, identity: Identity): string | undefined {
  try {
    const value: unknown = JSON.parse(state);
    if (value === null) return "null";
    if (typeof value !== "object" || Array.isArray(value)) return undefined;
    const { userId: id, name, color } = identity;
    // colorLight is what y-codemirror.next paints a remote selection with.
    return JSON.stringify({ ...value, user: { id, name, color, colorLight: `${color}33` } });
  } catch {
    return undefined;
  }
}
