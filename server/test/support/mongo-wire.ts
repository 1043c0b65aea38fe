import { BSON, type Document } from "mongodb";
import type { Readable } from "node:stream";

/** As much of MongoDB's wire protocol as a proxy needs to know what passes, and to answer in the server's place. */

const HEADER_BYTES = 16;
const OP = { reply: 1, query: 2004, message: 2013 } as const;
const BODY = 0;
/** Numbers stay what they are on the wire when a document is written again. */
const EXACT = { promoteValues: false, promoteLongs: false, promoteBuffers: false } as const;

export interface Command {
  readonly name: string;
  readonly body: Document;
}

/** The messages of one direction, each whole; ends when the connection does, in the middle of a message too. */
export async function* messages(stream: Readable): AsyncGenerator<Buffer, undefined> {
  let chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError("the stream has an encoding");
    chunks.push(chunk);
    length += chunk.length;
    for (;;) {
      const size = sizeIn(chunks);
      if (size === undefined || length < size) break;
      const all = Buffer.concat(chunks);
      yield all.subarray(0, size);
      chunks = [all.subarray(size)];
      length -= size;
    }
  }
  return undefined;
}

function sizeIn(chunks: readonly Buffer[]): number | undefined {
  const head = (chunks[0]?.length ?? 0) >= 4 ? chunks[0] : Buffer.concat(chunks);
  return head === undefined || head.length < 4 ? undefined : head.readInt32LE(0);
}

/** What a client asks for. */
export function readCommand(request: Buffer): Command {
  const body = bodyOf(request);
  return { name: Object.keys(body)[0] ?? "", body };
}

/** The document that a server answers with. */
export function readAnswer(answer: Buffer): Document {
  return bodyOf(answer);
}

/** An answer to a request, in the form in which it was asked. */
export function answerTo(request: Buffer, document: Document): Buffer {
  const bytes = Buffer.from(BSON.serialize(document));
  if (opOf(request) === OP.query) {
    const head = Buffer.alloc(20);
    head.writeInt32LE(1, 16);
    return framed({ op: OP.reply, id: 0, to: idOf(request) }, [head, bytes]);
  }
  return framed({ op: OP.message, id: 0, to: idOf(request) }, [Buffer.alloc(4), Buffer.of(BODY), bytes]);
}

/** The request with another body, its document sequences as they were. */
export function withBody(request: Buffer, body: Document): Buffer {
  if (opOf(request) !== OP.message) throw new Error("only OP_MSG can be changed");
  const parts = sectionsOf(request).flatMap(({ kind, bytes }) => [
    Buffer.of(kind),
    kind === BODY ? Buffer.from(BSON.serialize(body)) : bytes,
  ]);
  const flags = request.subarray(HEADER_BYTES, HEADER_BYTES + 4);
  return framed({ op: OP.message, id: idOf(request), to: 0 }, [flags, ...parts]);
}

interface Section {
  readonly kind: number;
  readonly bytes: Buffer;
}

function sectionsOf(message: Buffer): Section[] {
  const sections: Section[] = [];
  for (let at = HEADER_BYTES + 4; at < message.length;) {
    const size = message.readInt32LE(at + 1);
    sections.push({ kind: message.readUInt8(at), bytes: message.subarray(at + 1, at + 1 + size) });
    at += 1 + size;
  }
  return sections;
}

function bodyOf(message: Buffer): Document {
  const bytes = bodyBytes(message);
  if (bytes === undefined) throw new Error(`a message without a body, of kind ${opOf(message)}`);
  return BSON.deserialize(bytes, EXACT);
}

function bodyBytes(message: Buffer): Buffer | undefined {
  switch (opOf(message)) {
    case OP.message:
      return sectionsOf(message).find(({ kind }) => kind === BODY)?.bytes;
    case OP.query:
      // Flags, the collection's name with its end, how many to skip and to return.
      return message.subarray(message.indexOf(0, HEADER_BYTES + 4) + 1 + 8);
    case OP.reply:
      return message.subarray(HEADER_BYTES + 20);
    default:
      return undefined;
  }
}

function opOf(message: Buffer): number {
  return message.readInt32LE(12);
}

function idOf(message: Buffer): number {
  return message.readInt32LE(4);
}

function framed(head: { op: number; id: number; to: number }, parts: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeInt32LE(
    parts.reduce((sum, part) => sum + part.length, HEADER_BYTES),
    0,
  );
  header.writeInt32LE(head.id, 4);
  header.writeInt32LE(head.to, 8);
  header.writeInt32LE(head.op, 12);
  return Buffer.concat([header, ...parts]);
}
