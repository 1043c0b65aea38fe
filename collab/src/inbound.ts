import * as decoding from "lib0/decoding";
import { MESSAGE, SYNC } from "@scriptorium/shared";
import { AUTH } from "./wire.ts";

/** What a client may say on an open document. */
export type Inbound =
  | { readonly type: "step1"; readonly stateVector: Uint8Array }
  | { readonly type: "step2" | "update"; readonly update: Uint8Array }
  | { readonly type: "awareness"; readonly update: Uint8Array }
  | { readonly type: "query-awareness" }
  | { readonly type: "token"; readonly token: string }
  | { readonly type: "close" };

export interface Header {
  readonly address: string;
  readonly type: number;
  /** Where the type begins. */
  readonly start: number;
}

/** A document's name and a session's are far shorter. What is kept per address of a client must not be the client's size. */
const ADDRESS_BYTES = 8 * 1024;

/** The address and type of a message in the Hocuspocus dialect; undefined when malformed. */
export function readHeader(data: Uint8Array): Header | undefined {
  return decoded(() => {
    const decoder = decoding.createDecoder(data);
    if (decoding.peekVarUint(decoder) > ADDRESS_BYTES) return undefined;
    const address = decoding.readVarString(decoder);
    const start = decoder.pos;
    return { address, type: decoding.readVarUint(decoder), start };
  });
}

/** The message that begins at `start`; undefined when it is malformed or of a kind that clients may not send. */
export function readInbound(data: Uint8Array, start: number): Inbound | undefined {
  return decoded(() => {
    const decoder = decoding.createDecoder(data);
    decoder.pos = start;
    const type = decoding.readVarUint(decoder);
    switch (type) {
      case MESSAGE.sync:
      case MESSAGE.syncReply:
        return readSync(decoder);
      case MESSAGE.awareness:
        return { type: "awareness", update: decoding.readVarUint8Array(decoder) };
      case MESSAGE.queryAwareness:
        return { type: "query-awareness" };
      case MESSAGE.auth:
        if (decoding.readVarUint(decoder) !== AUTH.token) return undefined;
        return { type: "token", token: decoding.readVarString(decoder) };
      case MESSAGE.close:
        return { type: "close" };
      default:
        return undefined;
    }
  });
}

function readSync(decoder: decoding.Decoder): Inbound | undefined {
  const kind = decoding.readVarUint(decoder);
  const body = decoding.readVarUint8Array(decoder);
  if (kind === SYNC.step1) return { type: "step1", stateVector: body };
  if (kind === SYNC.step2) return { type: "step2", update: body };
  if (kind === SYNC.update) return { type: "update", update: body };
  return undefined;
}

/** The reason of a "permission denied" message; undefined for every other message. */
export function readDenial(data: Uint8Array, header: Header): string | undefined {
  if (header.type !== MESSAGE.auth) return undefined;
  return decoded(() => {
    const decoder = decoding.createDecoder(data);
    decoder.pos = header.start;
    decoding.readVarUint(decoder);
    if (decoding.readVarUint(decoder) !== AUTH.permissionDenied) return undefined;
    return decoding.readVarString(decoder);
  });
}

/** Runs a decoder over foreign bytes: whatever lib0 throws there means "malformed". Nothing else may run inside. */
function decoded<T>(read: () => T | undefined): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
