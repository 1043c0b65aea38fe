import { MESSAGE, SYNC } from "@scriptorium/shared";
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";

/** What a server said, as far as a client that only measures cares. Payloads are views. */
export type Incoming =
  | { readonly type: "step1" }
  | { readonly type: "update"; readonly update: Uint8Array; readonly answer: boolean }
  | { readonly type: "ack"; readonly applied: boolean }
  | { readonly type: "awareness"; readonly update: Uint8Array }
  | { readonly type: "refused"; readonly reason: string }
  | { readonly type: "other" };

export type ProtocolName = "hocuspocus" | "yjs";

/** One document's messages in one of the two wire protocols. */
export interface Wire {
  readonly acks: boolean;
  /** What a provider sends when its socket opens, for a client whose document is empty. */
  hello(token: string): Uint8Array[];
  /** The answer to the server's SyncStep1 of a client that has nothing. */
  emptyStep2(): Uint8Array;
  update(update: Uint8Array): Uint8Array;
  awareness(update: Uint8Array): Uint8Array;
  read(message: Uint8Array): Incoming;
}

const EMPTY_STATE_VECTOR = Uint8Array.of(0);
const EMPTY_UPDATE = Uint8Array.of(0, 0);
/** Source: @hocuspocus/common `auth.ts`. */
const AUTH = { token: 0, denied: 1, authenticated: 2 } as const;
/** What @hocuspocus/provider adds to its token. */
const PROVIDER_VERSION = "4.7.0";

function message(address: string | undefined, write: (encoder: encoding.Encoder) => void): Uint8Array {
  const encoder = encoding.createEncoder();
  if (address !== undefined) encoding.writeVarString(encoder, address);
  write(encoder);
  return encoding.toUint8Array(encoder);
}

function sync(address: string | undefined, type: number, body: Uint8Array): Uint8Array {
  return message(address, (encoder) => {
    encoding.writeVarUint(encoder, MESSAGE.sync);
    encoding.writeVarUint(encoder, type);
    encoding.writeVarUint8Array(encoder, body);
  });
}

function readSync(decoder: decoding.Decoder): Incoming {
  const type = decoding.readVarUint(decoder);
  if (type === SYNC.step1) return { type: "step1" };
  return { type: "update", update: decoding.readVarUint8Array(decoder), answer: type === SYNC.step2 };
}

function readAuth(decoder: decoding.Decoder): Incoming {
  if (decoding.readVarUint(decoder) !== AUTH.denied) return { type: "other" };
  return { type: "refused", reason: decoding.readVarString(decoder) };
}

function readBody(decoder: decoding.Decoder): Incoming {
  switch (decoding.readVarUint(decoder)) {
    case MESSAGE.sync:
    case MESSAGE.syncReply:
      return readSync(decoder);
    case MESSAGE.awareness:
      return { type: "awareness", update: decoding.readVarUint8Array(decoder) };
    case MESSAGE.auth:
      return readAuth(decoder);
    case MESSAGE.syncStatus:
      return { type: "ack", applied: decoding.readVarInt(decoder) === 1 };
    case MESSAGE.close:
      return { type: "refused", reason: decoding.readVarString(decoder) };
    default:
      return { type: "other" };
  }
}

/** Hocuspocus prefixes every message with the document's name; otherwise the two protocols agree byte for byte. */
export function createWire(protocol: ProtocolName, document: string): Wire {
  const address = protocol === "hocuspocus" ? document : undefined;
  const auth = (token: string): Uint8Array =>
    message(address, (encoder) => {
      encoding.writeVarUint(encoder, MESSAGE.auth);
      encoding.writeVarUint(encoder, AUTH.token);
      encoding.writeVarString(encoder, token);
      encoding.writeVarString(encoder, PROVIDER_VERSION);
    });
  const step1 = sync(address, SYNC.step1, EMPTY_STATE_VECTOR);

  return {
    acks: protocol === "hocuspocus",
    hello: (token) => (protocol === "hocuspocus" ? [auth(token), step1] : [step1]),
    emptyStep2: () => sync(address, SYNC.step2, EMPTY_UPDATE),
    update: (update) => sync(address, SYNC.update, update),
    awareness: (update) =>
      message(address, (encoder) => {
        encoding.writeVarUint(encoder, MESSAGE.awareness);
        encoding.writeVarUint8Array(encoder, update);
      }),
    read: (received) => {
      const decoder = decoding.createDecoder(received);
      if (address !== undefined) decoding.readVarString(decoder);
      return readBody(decoder);
    },
  };
}
