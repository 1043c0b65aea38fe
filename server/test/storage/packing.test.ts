import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RowId, UpdateRow } from "@scriptorium/collab";
import fc from "fast-check";
import { ByteReader, ByteWriter } from "../../src/storage/adapters/sqlite/bytes.ts";
import { packRows, toRanges, unpackRows } from "../../src/storage/adapters/sqlite/row-batch.ts";

const name = fc.oneof(fc.string({ unit: "grapheme", maxLength: 12 }), fc.constantFrom("a", "b", "", "张三"));
const id: fc.Arbitrary<RowId> = fc.record(
  {
    document: fc.constantFrom("a", "b"),
    epoch: fc.integer({ min: 1, max: 2 }),
    node: fc.constantFrom("n", "m"),
    seq: fc.integer({ min: 1, max: 30 }),
  },
  { noNullPrototype: true },
);
const row: fc.Arbitrary<UpdateRow> = fc.record(
  {
    document: name,
    epoch: fc.maxSafeNat(),
    node: name,
    seq: fc.maxSafeNat(),
    at: fc.maxSafeNat(),
    by: name,
    update: fc.uint8Array({ maxLength: 300 }),
  },
  { noNullPrototype: true },
);

describe("packing", () => {
  it("gives back any batch of rows", () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 20 }), (rows) => {
        assert.deepEqual(unpackRows(packRows(rows)), rows);
      }),
    );
  });

  it("names every row that was given, no other, and few ranges for rows in sequence", () => {
    fc.assert(
      fc.property(fc.array(id, { maxLength: 40 }), (ids) => {
        const named = toRanges(ids).flatMap(({ to, ...first }) =>
          Array.from({ length: to - first.seq + 1 }, (_, i) => ({ ...first, seq: first.seq + i })),
        );
        assert.deepEqual(named, ids);
      }),
    );
    const run = Array.from({ length: 500 }, (_, i) => ({ document: "a", epoch: 1, node: "n", seq: i + 1 }));
    assert.equal(toRanges(run).length, 1);
  });

  it("throws on bytes that end too early", () => {
    const writer = new ByteWriter(0);
    writer.blob(new Uint8Array(200));
    const bytes = writer.done();
    assert.throws(() => new ByteReader(bytes.subarray(0, 1)).uint(), RangeError);
    assert.throws(() => new ByteReader(bytes.subarray(0, 100)).blob(), RangeError);
  });
});
