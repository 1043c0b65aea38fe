import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { newId } from "../ids.ts";
import type { StreamEntry, Streams } from "../storage/streams.ts";
import { memoryStreams } from "./memory-streams.ts";
import type { Opened } from "./opened.ts";

type Step =
  | {
      readonly kind: "append";
      readonly ahead: number;
      readonly op: number | undefined;
      readonly value: number;
    }
  | { readonly kind: "read"; readonly from: number; readonly limit: number }
  | { readonly kind: "head" }
  | { readonly kind: "trim"; readonly back: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      // Relative to the head, so that most appends are for the next position and some are stale.
      ahead: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.integer({ min: -4, max: 1 })),
      op: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
      value: fc.integer(),
    }),
  },
  fc.record({
    kind: fc.constant("read" as const),
    from: fc.integer({ min: 0, max: 12 }),
    limit: fc.integer({ min: 0, max: 5 }),
  }),
  fc.record({ kind: fc.constant("head" as const) }),
  fc.record({ kind: fc.constant("trim" as const), back: fc.integer({ min: -2, max: 4 }) }),
);

async function apply(streams: Streams, stream: string, { step: next, head }: { step: Step; head: number }) {
  switch (next.kind) {
    case "append": {
      const op = next.op === undefined ? {} : { op: `op${next.op}` };
      return streams.append(stream, {
        at: Math.max(1, head + next.ahead),
        entry: { value: next.value },
        ...op,
      });
    }
    case "read":
      return streams.read(stream, next.from, next.limit);
    case "head":
      return streams.head(stream);
    case "trim":
      return streams.trim(stream, head - next.back);
    default:
      throw new Error(`no such step: ${JSON.stringify(next satisfies never)}`);
  }
}

/** Any JSON value and any bytes at the top level, the field names that break careless code among them. */
const entryFields = fc.dictionary(
  fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom("__proto__", "constructor", "at", "$", "a.b", "")),
  fc.oneof(
    fc.jsonValue({ maxDepth: 3 }).map((value): unknown => JSON.parse(JSON.stringify(value))),
    fc.uint8Array({ maxLength: 40 }),
  ),
  { maxKeys: 6, noNullPrototype: true },
);

/** What every implementation of `Streams` promises; `open` is called once for the suite. */
export function streamsContract(name: string, open: () => Promise<Opened<Streams>>): void {
  describe(`streams contract: ${name}`, () => {
    let opened: Opened<Streams>;
    let streams: Streams;
    before(async () => {
      opened = await open();
      streams = opened.subject;
    });
    after(() => opened.close());

    it("is empty where nothing was appended", async () => {
      const stream = newId();
      assert.equal(await streams.head(stream), undefined);
      assert.deepEqual(await streams.read(stream, 1, 10), []);
      await streams.trim(stream, 5);
      assert.equal(await streams.append(stream, { at: 1, entry: {} }), "ok");
    });

    it("gives back what was appended, in order, from a position, up to a limit", async () => {
      const stream = newId();
      const entries: StreamEntry[] = [1, 2, 3, 4].map((at) => ({ at, entry: { n: at }, op: `op${at}` }));
      for (const entry of entries) assert.equal(await streams.append(stream, entry), "ok");
      assert.deepEqual(await streams.read(stream, 0, 10), entries);
      assert.deepEqual(await streams.read(stream, 2, 2), entries.slice(1, 3));
      assert.deepEqual(await streams.read(stream, 5, 10), []);
      assert.deepEqual(await streams.read(stream, 1, 0), []);
      assert.deepEqual(await streams.head(stream), entries[3]);
    });

    it("says taken for a held position and keeps the first entry", async () => {
      const stream = newId();
      assert.equal(await streams.append(stream, { at: 1, entry: { by: "first" } }), "ok");
      assert.equal(await streams.append(stream, { at: 1, entry: { by: "second" } }), "taken");
      assert.equal(await streams.append(stream, { at: 1, entry: { by: "third" }, op: "x" }), "taken");
      assert.deepEqual(await streams.read(stream, 1, 10), [{ at: 1, entry: { by: "first" } }]);
      assert.equal(
        await streams.append(stream, { at: 2, entry: {}, op: "x" }),
        "ok",
        "a taken op was not used up",
      );
    });

    it("says seen for a known op, at its own position and at any other, before taken", async () => {
      const stream = newId();
      assert.equal(await streams.append(stream, { at: 1, entry: {}, op: "a" }), "ok");
      assert.equal(await streams.append(stream, { at: 1, entry: {}, op: "a" }), "seen");
      assert.equal(await streams.append(stream, { at: 2, entry: {}, op: "a" }), "seen");
      assert.equal(await streams.append(stream, { at: 2, entry: {}, op: "b" }), "ok");
      assert.equal(await streams.append(stream, { at: 1, entry: {}, op: "b" }), "seen");
      assert.deepEqual((await streams.head(stream))?.at, 2);
    });

    it("keeps streams apart", async () => {
      const [a, b] = [newId(), newId()];
      assert.equal(await streams.append(a, { at: 1, entry: { of: "a" }, op: "same" }), "ok");
      assert.equal(await streams.append(b, { at: 1, entry: { of: "b" }, op: "same" }), "ok");
      await streams.append(a, { at: 2, entry: {} });
      await streams.trim(a, 2);
      assert.deepEqual(await streams.read(b, 1, 10), [{ at: 1, entry: { of: "b" }, op: "same" }]);
    });

    it("refuses positions that are not whole numbers from 1", async () => {
      const stream = newId();
      for (const at of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
        await assert.rejects(streams.append(stream, { at, entry: {} }), RangeError);
      }
      assert.equal(await streams.head(stream), undefined);
    });

    it("forgets trimmed entries, never the head, and keeps trimmed positions taken", async () => {
      const stream = newId();
      for (const at of [1, 2, 3, 4]) await streams.append(stream, { at, entry: { at } });
      await streams.trim(stream, 3);
      assert.deepEqual(
        (await streams.read(stream, 1, 10)).map((entry) => entry.at),
        [3, 4],
      );
      // A writer that read the head long ago must not win a position that history has passed.
      assert.equal(await streams.append(stream, { at: 2, entry: { late: true } }), "taken");
      await streams.trim(stream, 100);
      assert.deepEqual(await streams.read(stream, 1, 10), [{ at: 4, entry: { at: 4 } }]);
      assert.equal(await streams.append(stream, { at: 3, entry: {} }), "taken");
      assert.equal(await streams.append(stream, { at: 5, entry: {} }), "ok");
    });

    it("keeps JSON values and top-level bytes exactly, and drops undefined fields", async () => {
      const stream = newId();
      await streams.append(stream, {
        at: 1,
        entry: {
          bytes: new Uint8Array([0, 255, 7]),
          none: undefined,
          nested: { gone: undefined, list: [1, null] },
        },
      });
      const entry = (await streams.head(stream))?.entry ?? {};
      assert.deepEqual(entry, { bytes: new Uint8Array([0, 255, 7]), nested: { list: [1, null] } });
      assert.equal(
        Object.getPrototypeOf(entry["bytes"]),
        Uint8Array.prototype,
        "bytes are a plain Uint8Array",
      );
    });

    it("takes nothing from and shares nothing with the caller", async () => {
      const stream = newId();
      const bytes = new Uint8Array([1, 2, 3, 4]).subarray(1, 3);
      const pending = streams.append(stream, { at: 1, entry: { bytes, list: [1] } });
      bytes.fill(9);
      await pending;
      assert.equal(bytes.length, 2, "the caller's buffer is still its own");
      const kept = (await streams.head(stream))?.entry["bytes"];
      assert.ok(kept instanceof Uint8Array);
      kept.fill(7);
      assert.deepEqual((await streams.head(stream))?.entry, { bytes: new Uint8Array([2, 3]), list: [1] });
    });

    it("round-trips any entry", async () => {
      const stream = newId();
      let at = 0;
      await fc.assert(
        fc.asyncProperty(entryFields, async (entry) => {
          at += 1;
          assert.equal(await streams.append(stream, { at, entry }), "ok");
          assert.deepEqual((await streams.head(stream))?.entry, entry);
        }),
        { numRuns: 60 },
      );
    });

    it("gives each position to exactly one of many racing writers", async () => {
      const stream = newId();
      const writers = 12;
      const perWriter = 8;
      const outcomes = await Promise.all(
        Array.from({ length: writers }, async (_, writer) => {
          const won: number[] = [];
          for (let i = 0; i < perWriter; i += 1)
            won.push(await appendAtHead(streams, stream, `${writer}/${i}`));
          return won;
        }),
      );
      const positions = outcomes.flat().toSorted((a, b) => a - b);
      assert.deepEqual(
        positions,
        Array.from({ length: writers * perWriter }, (_, i) => i + 1),
      );
      const ops = (await streams.read(stream, 1, 1000)).map((entry) => entry.op);
      assert.equal(new Set(ops).size, writers * perWriter);
    });

    it("lets one of many racing retries of the same op land", async () => {
      const stream = newId();
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          streams.append(stream, { at: (i % 3) + 1, entry: { i }, op: "once" }),
        ),
      );
      assert.equal(outcomes.filter((outcome) => outcome === "ok").length, 1);
      assert.equal(outcomes.filter((outcome) => outcome === "seen").length, 19);
      assert.equal((await streams.read(stream, 1, 100)).length, 1);
    });

    it("behaves like the model under any sequence of steps", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
          const model = memoryStreams();
          const stream = newId();
          for (const next of steps) {
            const head = (await model.head(stream))?.at ?? 0;
            const expected = await apply(model, stream, { step: next, head });
            assert.deepEqual(await apply(streams, stream, { step: next, head }), expected);
          }
          assert.deepEqual(await streams.read(stream, 0, 1000), await model.read(stream, 0, 1000));
        }),
        { numRuns: 25 },
      );
    });
  });
}

/** How every user of a contended stream writes: decide from the head, append after it, decide anew when it was taken. */
async function appendAtHead(streams: Streams, stream: string, op: string): Promise<number> {
  for (;;) {
    const at = ((await streams.head(stream))?.at ?? 0) + 1;
    const outcome = await streams.append(stream, { at, entry: { by: op }, op });
    assert.notEqual(outcome, "seen", "this op was never written before");
    if (outcome !== "ok") continue;
    assert.equal(await streams.append(stream, { at: at + 1, entry: { by: op }, op }), "seen");
    return at;
  }
}
