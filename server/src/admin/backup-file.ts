import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { z } from "zod";
import { decodePiece, encodePiece, type Piece } from "./piece.ts";
import { Refused } from "./refused.ts";
import { createTally, differences, type Totals } from "./tally.ts";

/**
 * A backup is one file:
 *
 *     magic, version                        20 bytes
 *     blocks                                kind u8, length u32, content
 *       header                              JSON: where it is from
 *       pieces, any number of blocks        zstd of up to 1 MB of: length u32, piece; length u32, piece; ...
 *       trailer                             JSON: how much of what there is
 *     SHA-256 of everything before          32 bytes
 *
 * Numbers are little-endian. A block ends where it is full, in the middle of a piece if need be, so that neither side
 * holds more than a piece and a block.
 */

/** Counts the changes of this format; a newer one than this is refused. */
const VERSION = 1;
const MAGIC = Buffer.from("scriptorium-bak\n");
const PREFIX_BYTES = MAGIC.length + 4;
const BLOCK_HEAD_BYTES = 5;
const DIGEST_BYTES = 32;
const BLOCK_BYTES = 1024 * 1024;
/** Incompressible content grows a little. */
const BLOCK_SLACK_BYTES = 64 * 1024;
/** Larger pieces cannot come from a store: the parts of a document are refused before that. */
const PIECE_BYTES = 1024 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;

const KIND = { header: 1, pieces: 2, trailer: 3 } as const;

const Header = z.object({
  /** Of the installation; empty for one that has never had a server that knew of it. */
  installation: z.string(),
  /** What kind of store it was. */
  store: z.string(),
  /** When the backup began, ISO 8601. Every edit that was acknowledged before is in it. */
  begun: z.string(),
});
export type BackupHeader = Readonly<z.infer<typeof Header>>;

const Trailer = z.object({
  totals: z.record(z.string(), z.object({ count: z.number(), sum: z.string() })),
});

/** Writes pieces into a new file, readable for its owner alone: it holds password hashes and keys. */
export async function writeBackup(
  path: string,
  { header, pieces }: { header: BackupHeader; pieces: AsyncIterable<Piece> },
): Promise<{ readonly totals: Totals; readonly bytes: number }> {
  const file = await open(path, "wx", 0o600);
  try {
    const out = createWriter(file);
    const tally = createTally();
    await out.begin();
    await out.block(KIND.header, Buffer.from(JSON.stringify(header)));
    for await (const piece of pieces) {
      tally.add(piece);
      await out.piece(encodePiece(piece));
    }
    const totals = tally.totals();
    await out.flush();
    await out.block(KIND.trailer, Buffer.from(JSON.stringify({ totals })));
    const bytes = await out.end();
    await file.sync();
    return { totals, bytes };
  } finally {
    await file.close();
  }
}

function createWriter(file: FileHandle) {
  const hash = createHash("sha256");
  let bytes = 0;
  let waiting: Buffer[] = [];
  let waitingBytes = 0;

  const write = async (...parts: Buffer[]): Promise<void> => {
    for (const part of parts) {
      hash.update(part);
      bytes += part.length;
      await file.appendFile(part);
    }
  };
  const block = async (kind: number, content: Buffer): Promise<void> => {
    const head = Buffer.alloc(BLOCK_HEAD_BYTES);
    head.writeUInt8(kind);
    head.writeUInt32LE(content.length, 1);
    await write(head, content);
  };
  const flush = async (): Promise<void> => {
    const content = Buffer.concat(waiting);
    waiting = [];
    waitingBytes = 0;
    for (let at = 0; at < content.length; at += BLOCK_BYTES)
      await block(KIND.pieces, zstdCompressSync(content.subarray(at, at + BLOCK_BYTES)));
  };

  return {
    block,
    flush,
    begin: () => write(prefix(VERSION)),
    async piece(encoded: Buffer): Promise<void> {
      if (encoded.length > PIECE_BYTES)
        throw new RangeError(`a piece of ${encoded.length} bytes is too large`);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(encoded.length);
      waiting.push(length, encoded);
      waitingBytes += 4 + encoded.length;
      if (waitingBytes >= BLOCK_BYTES) await flush();
    },
    async end(): Promise<number> {
      await file.appendFile(hash.digest());
      return bytes + DIGEST_BYTES;
    },
  };
}

function prefix(version: number): Buffer {
  const bytes = Buffer.alloc(PREFIX_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(version, MAGIC.length);
  return bytes;
}

/** A backup that is whole, byte for byte. */
export interface Backup {
  readonly header: BackupHeader;
  readonly totals: Totals;
  /** Of the file, in hex: names it. */
  readonly digest: string;
  readonly bytes: number;
  /** From the beginning, each time. Throws at the end if they are not what the file says that it holds. */
  pieces(): AsyncGenerator<Piece>;
  close(): Promise<void>;
}

/** Reads the whole file once, and throws Refused unless it is exactly what was written. */
export async function openBackup(path: string): Promise<Backup> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    await demandFormat(file, path);
    const digest = await demandWhole(file, { path, size });
    const end = size - DIGEST_BYTES;
    const { header, totals } = await readEnds(file, end);
    return {
      header,
      totals,
      digest,
      bytes: size,
      pieces: () => piecesIn(file, { end, totals }),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function demandFormat(file: FileHandle, path: string): Promise<void> {
  const begin = await readAt(file, 0, PREFIX_BYTES);
  if (begin.length < PREFIX_BYTES || !begin.subarray(0, MAGIC.length).equals(MAGIC))
    throw new Refused(`${path} is not a backup of Scriptorium, or its beginning is damaged`);
  const version = begin.readUInt32LE(MAGIC.length);
  if (version > VERSION)
    throw new Refused(
      `${path} was written by a newer version of Scriptorium (backup format ${version}, this one knows ${VERSION})`,
    );
}

/** The digest of everything but the digest. */
async function demandWhole(file: FileHandle, of: { path: string; size: number }): Promise<string> {
  const hash = createHash("sha256");
  const end = of.size - DIGEST_BYTES;
  for (let at = 0; at < end; at += READ_BYTES)
    hash.update(await readAt(file, at, Math.min(READ_BYTES, end - at)));
  const digest = hash.digest();
  if (end < PREFIX_BYTES || !digest.equals(await readAt(file, end, DIGEST_BYTES)))
    throw new Refused(`${of.path} is damaged or not complete; nothing was written`);
  return digest.toString("hex");
}

async function readEnds(file: FileHandle, end: number): Promise<{ header: BackupHeader; totals: Totals }> {
  let header: BackupHeader | undefined;
  for await (const { kind, content } of blocksIn(file, end)) {
    if (kind === KIND.header) header = Header.parse(JSON.parse((await content()).toString()));
    if (kind !== KIND.trailer || header === undefined) continue;
    return { header, ...Trailer.parse(JSON.parse((await content()).toString())) };
  }
  throw new Refused("the backup has no header or no trailer");
}

interface Block {
  readonly kind: number;
  readonly content: () => Promise<Buffer>;
}

async function* blocksIn(file: FileHandle, end: number): AsyncGenerator<Block> {
  for (let at = PREFIX_BYTES; at < end;) {
    const head = await readAt(file, at, BLOCK_HEAD_BYTES);
    const length = head.readUInt32LE(1);
    const start = at + BLOCK_HEAD_BYTES;
    at = start + length;
    if (at > end) throw new Refused("the backup ends within a block");
    yield { kind: head.readUInt8(), content: () => readAt(file, start, length) };
  }
}

async function* piecesIn(
  file: FileHandle,
  { end, totals }: { end: number; totals: Totals },
): AsyncGenerator<Piece> {
  const tally = createTally();
  const queue = createByteQueue();
  for await (const { kind, content } of blocksIn(file, end)) {
    if (kind !== KIND.pieces) continue;
    queue.push(zstdDecompressSync(await content(), { maxOutputLength: BLOCK_BYTES + BLOCK_SLACK_BYTES }));
    for (let next = takePiece(queue); next !== undefined; next = takePiece(queue)) {
      const piece = decodePiece(next);
      tally.add(piece);
      yield piece;
    }
  }
  const wrong = differences(totals, tally.totals());
  if (wrong.length > 0 || queue.length > 0)
    throw new Refused(`the backup does not hold what it says: ${wrong.join("; ")}`);
}

interface ByteQueue {
  readonly length: number;
  push(bytes: Buffer): void;
  /** Undefined while there are not so many; taken only when asked to. */
  peek(count: number): Buffer | undefined;
  take(count: number): Buffer | undefined;
}

function createByteQueue(): ByteQueue {
  let chunks: Buffer[] = [];
  let length = 0;
  const peek = (count: number): Buffer | undefined => {
    if (length < count) return undefined;
    const [first] = chunks;
    if (first === undefined || first.length < count) chunks = [Buffer.concat(chunks)];
    return chunks[0]?.subarray(0, count);
  };
  return {
    get length() {
      return length;
    },
    push(bytes) {
      chunks.push(bytes);
      length += bytes.length;
    },
    peek,
    take(count) {
      const taken = peek(count);
      const [first, ...rest] = chunks;
      if (taken === undefined || first === undefined) return taken;
      chunks = first.length > count ? [first.subarray(count), ...rest] : rest;
      length -= count;
      return taken;
    },
  };
}

function takePiece(queue: ByteQueue): Buffer | undefined {
  const size = queue.peek(4)?.readUInt32LE();
  if (size === undefined || queue.length < 4 + size) return undefined;
  queue.take(4);
  return queue.take(size);
}

/** Shorter at the end of the file. */
async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
