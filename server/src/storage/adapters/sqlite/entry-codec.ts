import type { StreamEntry } from "@scriptorium/shared";
import { ByteReader, ByteWriter } from "./bytes.ts";

type Fields = StreamEntry["entry"];

/** Binary fields first, each with its name, then the rest as JSON text: no base64, and one value in the store. */
export function encodeEntry(entry: Fields): Uint8Array<ArrayBuffer> {
  const binary: [string, Uint8Array][] = [];
  const plain: [string, unknown][] = [];
  for (const [key, value] of Object.entries(entry)) {
    if (value instanceof Uint8Array) binary.push([key, value]);
    else plain.push([key, value]);
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(plain)));
  const writer = new ByteWriter(binary.reduce((sum, [, value]) => sum + value.length + 32, json.length + 16));
  writer.uint(binary.length);
  for (const [key, value] of binary) {
    writer.text(key);
    writer.blob(value);
  }
  writer.raw(json);
  return writer.done();
}

export function decodeEntry(bytes: Uint8Array): Fields {
  const reader = new ByteReader(bytes);
  const binary: [string, unknown][] = [];
  for (let left = reader.uint(); left > 0; left -= 1) binary.push([reader.text(), reader.blob()]);
  const plain: Fields = JSON.parse(reader.rest());
  // fromEntries defines fields; assigning would run the setter of a field that is called __proto__.
  return binary.length === 0 ? plain : Object.fromEntries([...Object.entries(plain), ...binary]);
}
