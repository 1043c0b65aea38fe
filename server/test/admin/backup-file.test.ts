import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { openBackup, writeBackup } from "../../src/admin/backup-file.ts";
import { digestOf, type Piece } from "../../src/admin/piece.ts";
import { Refused } from "../../src/admin/refused.ts";
import type { Totals } from "../../src/admin/tally.ts";
import { removeDir, temporaryDir } from "../storage/temporary-store.ts";

const HEADER = { installation: "01J", store: "SQLite", begun: "2026-01-01T00:00:00.000Z" };
const DIGEST_BYTES = 32;
const VERSION_AT = 16;

const bytes = fc.uint8Array({ maxLength: 60 });
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("\ud800", "\u0000", "__proto__", "论文🧪"),
);
const fields = fc
  .array(fc.tuple(text, fc.jsonValue({ maxDepth: 1 })), { maxLength: 4 })
  .map((pairs): Record<string, unknown> => JSON.parse(JSON.stringify(Object.fromEntries(pairs))));
const count = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

const document: fc.Arbitrary<Piece> = fc
  .record({
    name: text,
    at: fc.nat(),
    epoch: count,
    parts: fc.array(bytes, { maxLength: 3 }),
    rows: fc.array(fc.record({ node: text, seq: count, at: count, by: text, update: bytes }), {
      maxLength: 4,
    }),
    retired: fc.array(count, { maxLength: 3 }),
  })
  .map(({ name, at, epoch, parts, rows, retired }) => ({
    kind: "document",
    name,
    stored: {
      head: {
        epoch,
        parts: parts.map((part, i) => ({ id: `p${i}`, bytes: part.length, level: i })),
        retired,
        deleted: false,
      },
      at,
      parts,
      rows: rows.map((row) => ({ ...row, document: name, epoch })),
    },
  }));
const docs: fc.Arbitrary<Piece> = fc
  .array(fc.tuple(fc.uuid(), fields), { minLength: 1, maxLength: 4 })
  .map((all) => ({
    kind: "docs",
    spec: { name: "people", unique: [["name"]], indexes: [["a", "b"]] },
    docs: all.map(([id, rest]) => ({ ...rest, id })),
  }));
const streams: fc.Arbitrary<Piece> = fc
  .array(
    fc.tuple(text, count, fc.array(fc.tuple(fields, bytes, fc.boolean()), { minLength: 1, maxLength: 3 })),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  .map((all) => ({
    kind: "streams",
    streams: all.map(([name, floor, entries]) => ({
      name,
      floor,
      entries: entries.map(([plain, blob, withOp], i) => ({
        at: i + 1,
        entry: { ...plain, blob },
        ...(withOp ? { op: `${i}` } : {}),
      })),
    })),
  }));
const piece = fc.oneof(document, docs, streams);

async function* each<T>(all: readonly T[]): AsyncGenerator<T> {
  yield* all;
}

it("a thing is the same whatever the order in which a store gives its fields", () => {
  const [a, b] = [Uint8Array.of(1), Uint8Array.of(2)];
  const stream = (entry: Readonly<Record<string, unknown>>): Piece => ({
    kind: "streams",
    streams: [{ name: "s", floor: 1, entries: [{ at: 1, entry }] }],
  });
  assert.equal(
    digestOf(stream({ a, b, c: 1, d: { e: 1, f: 2 } })),
    digestOf(stream({ d: { f: 2, e: 1 }, c: 1, b, a })),
  );
  assert.notEqual(digestOf(stream({ a, b })), digestOf(stream({ a: b, b: a })));
});

describe("a backup file", () => {
  let dir: string;
  let files = 0;
  before(async () => {
    dir = await temporaryDir();
  });
  after(() => removeDir(dir));
  const newPath = (): string => join(dir, `backup-${(files += 1)}`);

  async function write(pieces: readonly Piece[]): Promise<{ path: string; totals: Totals; bytes: number }> {
    const path = newPath();
    return { path, ...(await writeBackup(path, { header: HEADER, pieces: each(pieces) })) };
  }

  async function read(path: string): Promise<{ pieces: Piece[]; totals: Totals }> {
    const backup = await openBackup(path);
    try {
      const pieces: Piece[] = [];
      for await (const one of backup.pieces()) pieces.push(one);
      assert.deepEqual(backup.header, HEADER);
      return { pieces, totals: backup.totals };
    } finally {
      await backup.close();
    }
  }

  /** A whole file of a few kinds of things, and a way to ask what is said of another content. */
  async function sample(): Promise<{ whole: Buffer; refusal: (content: Buffer) => Promise<string> }> {
    const pieces = [document, docs, streams].flatMap((kind) =>
      fc.sample<Piece>(kind, { numRuns: 1, seed: 7 }),
    );
    const { path } = await write(pieces);
    const other = newPath();
    const refusal = async (content: Buffer): Promise<string> => {
      await writeFile(other, content);
      const says = await openBackup(other).catch((error: unknown) => error);
      assert.ok(says instanceof Refused, String(says));
      return says.message;
    };
    return { whole: await readFile(path), refusal };
  }

  it("gives back what was written, in its order, and says how much it is", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
        const { path, totals, bytes: size } = await write(pieces);
        const found = await read(path);
        assert.deepEqual(found.pieces, pieces);
        assert.deepEqual(found.totals, totals);
        assert.equal((await stat(path)).size, size);
        await rm(path);
      }),
      { numRuns: 60 },
    );
  });

  it("holds pieces that are larger than a block, and is read twice from one opening", async () => {
    const part = new Uint8Array(randomBytes(3_500_000));
    const head = {
      epoch: 1,
      parts: [{ id: "p", bytes: part.length, level: 0 }],
      retired: [],
      deleted: false,
    };
    const large: Piece = {
      kind: "document",
      name: "notes:x",
      stored: { head, at: 1, parts: [part], rows: [] },
    };
    const { path } = await write([large, large]);
    const backup = await openBackup(path);
    for (let times = 0; times < 2; times += 1) {
      const found: Piece[] = [];
      for await (const one of backup.pieces()) found.push(one);
      assert.deepEqual(found, [large, large]);
    }
    await backup.close();
  });

  it("is readable for its owner alone, and never written over another file", async () => {
    const { path } = await write([]);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    await assert.rejects(writeBackup(path, { header: HEADER, pieces: each([]) }), { code: "EEXIST" });
  });

  it("is refused when it ends too early, at whatever byte", async () => {
    const { whole, refusal } = await sample();
    for (let end = 0; end < whole.length; end += 1) {
      const says = await refusal(whole.subarray(0, end));
      assert.match(says, end < VERSION_AT + 4 ? /not a backup/ : /damaged or not complete/);
    }
  });

  it("is refused when any one of its bits is another, and when something follows it", async () => {
    const { whole, refusal } = await sample();
    for (let at = 0; at < whole.length; at += 1) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
      const says = await refusal(damaged);
      assert.match(says, /damaged|not a backup|newer version/);
    }
    assert.match(await refusal(Buffer.concat([whole, Buffer.of(0)])), /damaged/);
    assert.match(await refusal(Buffer.concat([whole, whole])), /damaged/);
  });

  it("is refused by name when its format is newer, though it is whole", async () => {
    const { whole, refusal } = await sample();
    const newer = Buffer.from(whole.subarray(0, -DIGEST_BYTES));
    newer.writeUInt32LE(2, VERSION_AT);
    const digest = createHash("sha256").update(newer).digest();
    assert.match(
      await refusal(Buffer.concat([newer, digest])),
      /newer version of Scriptorium \(backup format 2/,
    );
  });

  it("is refused at its end when it holds something else than it says, though it is whole", async () => {
    const [one] = fc.sample(docs, { numRuns: 1, seed: 3 });
    assert.ok(one?.kind === "docs");
    const { path } = await write([one]);
    const content = await readFile(path);
    const trailer = content.indexOf('{"totals"');
    // The counter of a kind, one digit.
    const at = content.indexOf('"count":', trailer) + 8;
    content[at] = (content[at] ?? 0) + 1;
    const body = content.subarray(0, -DIGEST_BYTES);
    await writeFile(path, Buffer.concat([body, createHash("sha256").update(body).digest()]));
    await assert.rejects(read(path), /does not hold what it says/);
  });
});
