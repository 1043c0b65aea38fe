/** RFC 6455 frames, the little of it that a load generator needs, at a cost well below a server's. */

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const FIN = 0x80;
const MASKED = 0x80;

/** A whole client frame. Its mask is zero: legal, and the server still pays for reading and applying it. */
export function clientFrame(opcode: number, payload: Uint8Array): Buffer {
  const size = payload.length;
  const extra = size < 126 ? 0 : size < 65_536 ? 2 : 8;
  const frame = Buffer.allocUnsafe(2 + extra + 4 + size);
  frame[0] = FIN | opcode;
  frame[1] = MASKED | (extra === 0 ? size : extra === 2 ? 126 : 127);
  if (extra === 2) frame.writeUInt16BE(size, 2);
  if (extra === 8) frame.writeBigUInt64BE(BigInt(size), 2);
  frame.writeUInt32BE(0, 2 + extra);
  frame.set(payload, 6 + extra);
  return frame;
}

export type OnFrame = (opcode: number, payload: Buffer) => void;

interface Header {
  readonly opcode: number;
  readonly final: boolean;
  readonly start: number;
  readonly size: number;
}

/** The header at `offset`, or undefined while not all of it is here. */
function readHeader(data: Buffer, offset: number): Header | undefined {
  if (data.length - offset < 2) return undefined;
  const first = data.readUInt8(offset);
  const short = data.readUInt8(offset + 1) & 0x7f;
  const extra = short < 126 ? 0 : short === 126 ? 2 : 8;
  if (data.length - offset < 2 + extra) return undefined;
  let size = short;
  if (extra === 2) size = data.readUInt16BE(offset + 2);
  if (extra === 8) size = Number(data.readBigUInt64BE(offset + 2));
  return { opcode: first & 0x0f, final: (first & FIN) !== 0, start: offset + 2 + extra, size };
}

/**
 * Cuts a stream of unmasked server frames into messages. A payload is a view of the caller's buffer wherever possible:
 * who keeps it copies it.
 */
export function createFrameReader(onMessage: OnFrame): (chunk: Buffer) => void {
  /** Bytes of a header that is not complete yet. */
  let rest: Buffer | undefined;
  /** A message whose body is not complete yet. */
  let partial: { header: Header; body: Buffer; filled: number } | undefined;
  let fragments: { opcode: number; parts: Buffer[] } | undefined;

  function frame(header: Header, body: Buffer): void {
    if (header.opcode >= OPCODE.close || (header.final && fragments === undefined)) {
      onMessage(header.opcode, body);
      return;
    }
    fragments ??= { opcode: header.opcode, parts: [] };
    fragments.parts.push(Buffer.from(body));
    if (!header.final) return;
    const whole = fragments;
    fragments = undefined;
    onMessage(whole.opcode, Buffer.concat(whole.parts));
  }

  /** Continues the message begun in an earlier chunk; returns how many bytes it took. */
  function resume(data: Buffer): number {
    if (partial === undefined) return 0;
    const take = Math.min(partial.header.size - partial.filled, data.length);
    data.copy(partial.body, partial.filled, 0, take);
    partial.filled += take;
    if (partial.filled === partial.header.size) {
      const done = partial;
      partial = undefined;
      frame(done.header, done.body);
    }
    return take;
  }

  return (chunk) => {
    const data = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    rest = undefined;
    let offset = resume(data);
    while (offset < data.length) {
      const header = readHeader(data, offset);
      if (header === undefined) {
        rest = Buffer.from(data.subarray(offset));
        return;
      }
      const end = header.start + header.size;
      if (end > data.length) {
        const body = Buffer.allocUnsafe(header.size);
        data.copy(body, 0, header.start);
        partial = { header, body, filled: data.length - header.start };
        return;
      }
      frame(header, data.subarray(header.start, end));
      offset = end;
    }
  };
}
