import * as encoding from "lib0/encoding";
import { MESSAGE, SYNC, type CollabNotice } from "@scriptorium/shared";

/**
 * Bytes on the wire. A message is `[varString address] varUint type ...`: the address is there in the Hocuspocus
 * dialect and absent in y-websocket's, which is the only difference for the types that both have.
 */

const FIN_BINARY = 0x82;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const MAX_LENGTH_7 = 125;
const MAX_LENGTH_16 = 0xff_ff;

/** One unmasked binary WebSocket frame (RFC 6455, 5.2) around a payload, ready to be written to any number of sockets. */
export function frame(payload: Uint8Array): Buffer {
  const length = payload.length;
  const header = length <= MAX_LENGTH_7 ? 2 : length <= MAX_LENGTH_16 ? 4 : 10;
  const bytes = Buffer.allocUnsafe(header + length);
  bytes[0] = FIN_BINARY;
  if (header === 2) bytes[1] = length;
  else if (header === 4) {
    bytes[1] = LENGTH_16;
    bytes.writeUInt16BE(length, 2);
  } else {
    bytes[1] = LENGTH_64;
    bytes.writeBigUInt64BE(BigInt(length), 2);
  }
  bytes.set(payload, header);
  return bytes;
}

function message(address: string | undefined, write: (encoder: encoding.Encoder) => void): Uint8Array {
  const encoder = encoding.createEncoder();
  if (address !== undefined) encoding.writeVarString(encoder, address);
  write(encoder);
  return encoding.toUint8Array(encoder);
}

export function addressPrefix(address: string | undefined): Uint8Array {
  return message(address, () => {});
}

export function syncMessage(
  address: string | undefined,
  kind: keyof typeof SYNC,
  body: Uint8Array,
): Uint8Array {
  return message(address, (encoder) => {
    encoding.writeVarUint(encoder, MESSAGE.sync);
    encoding.writeVarUint(encoder, SYNC[kind]);
    encoding.writeVarUint8Array(encoder, body);
  });
}

export function awarenessMessage(address: string | undefined, update: Uint8Array): Uint8Array {
  return message(address, (encoder) => {
    encoding.writeVarUint(encoder, MESSAGE.awareness);
    encoding.writeVarUint8Array(encoder, update);
  });
}

/** `saved` false: the update was refused because this connection may only read. */
export function syncStatusMessage(address: string, saved: boolean): Uint8Array {
  return message(address, (encoder) => {
    encoding.writeVarUint(encoder, MESSAGE.syncStatus);
    encoding.writeVarUint(encoder, saved ? 1 : 0);
  });
}

export function noticeMessage(address: string, notice: CollabNotice): Uint8Array {
  return message(address, (encoder) => {
    encoding.writeVarUint(encoder, MESSAGE.stateless);
    encoding.writeVarString(encoder, JSON.stringify(notice));
  });
}

/** Sub-types of an Auth message. Source: @hocuspocus/common 4 `auth.ts`. */
export const AUTH = { token: 0, permissionDenied: 1, authenticated: 2 } as const;

export function authTokenMessage(address: string, token: string): Uint8Array {
  return message(address, (encoder) => {
    encoding.writeVarUint(encoder, MESSAGE.auth);
    encoding.writeVarUint(encoder, AUTH.token);
    encoding.writeVarString(encoder, token);
  });
}

export function permissionDeniedMessage(address: string, reason: string): Uint8Array {
  return message(address, (encoder) => {
    encoding.writeVarUint(encoder, MESSAGE.auth);
    encoding.writeVarUint(encoder, AUTH.permissionDenied);
    encoding.writeVarString(encoder, reason);
  });
}

export function authenticatedMessage(address: string, readOnly: boolean): Uint8Array {
  return message(address, (encoder) => {
    encoding.writeVarUint(encoder, MESSAGE.auth);
    encoding.writeVarUint(encoder, AUTH.authenticated);
    encoding.writeVarString(encoder, readOnly ? "readonly" : "read-write");
  });
}

/** The Hocuspocus provider's heartbeat has no address; it answers with `pong`. */
export const PING_FRAME = frame(Uint8Array.of(MESSAGE.ping));
/** y-websocket has no ping: an awareness update of zero clients is the smallest message that resets its watchdog. */
export const EMPTY_AWARENESS_FRAME = frame(Uint8Array.of(MESSAGE.awareness, 1, 0));
