import { Binary } from "mongodb";

/** A copy, made at once: the driver serializes later, and the caller may change its buffer by then. */
export function toBinary(bytes: Uint8Array): Binary {
  return new Binary(Uint8Array.from(bytes));
}

/** A copy as a plain Uint8Array: what the driver gives is a view of the whole answer of the server. */
export function fromBinary(binary: Binary): Uint8Array {
  return new Uint8Array(binary.buffer.subarray(0, binary.length()));
}
