import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { StreamEntry } from "@scriptorium/shared";
import type { Opened } from "@scriptorium/shared/testing";
import fc from "fast-check";
import { openMemoryArchive } from "../adapters/memory/archive.ts";
import type { Archive, Holding, StoredStream } from "../archive.ts";
import type { CollectionSpec, Doc } from "../ports.ts";

const PEOPLE: CollectionSpec = { name: "people", unique: [["name"], ["team", "place"]], indexes: [["team"]] };
const PLAIN: CollectionSpec = { name: "plain", unique: [], indexes: [] };

const name = fc.oneof(
  fc.constantFrom("a", "a/b", "a b", "a%2Fb", "A", "head:notes:x", "名", "-", "a.b"),
  fc.string({ unit: "binary", minLength: 1, maxLength: 8 }),
);
const value = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("\ud800", "x\u0000y", "__proto__"),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
  fc.boolean(),
  fc.constant(null),
  fc.jsonValue({ maxDepth: 2 }).map((json) => JSON.parse(JSON.stringify(json))),
);
const fields = fc.dictionary(fc.constantFrom("f", "g", "h"), value);
const entry = fc
  .tuple(fields, fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined }))
  .map(([plain, bytes]): StreamEntry["entry"] => (bytes === undefined ? plain : { ...plain, bytes }));

interface Filling {
  readonly docs: readonly Doc[];
  readonly streams: readonly { name: string; entries: readonly StreamEntry[]; before: number }[];
}

const filling: fc.Arbitrary<Filling> = fc.record({
  docs: fc.uniqueArray(
    fc.record({ id: fc.uuid(), extra: fields }).map(({ id, extra }) => ({ ...extra, id })),
    { selector: ({ id }) => id, maxLength: 6 },
  ),
  streams: fc.uniqueArray(
    fc.record({
      name,
      before: fc.nat({ max: 8 }),
      entries: fc.array(entry, { minLength: 1, maxLength: 6 }).map((all) =>
        // Every other position, under an op now and then.
        all.map((fieldsOf, i) => ({
          at: 2 * i + 1,
          entry: fieldsOf,
          ...(i % 3 === 0 ? { op: `op/${i}` } : {}),
        })),
      ),
    }),
    { selector: (stream) => stream.name, maxLength: 5 },
  ),
});

async function fill({ store }: Holding, { docs, streams }: Filling): Promise<void> {
  const plain = store.open(PLAIN);
  for (const doc of docs) await plain.insert(doc);
  for (const stream of streams) {
    for (const each of stream.entries) await store.streams.append(stream.name, each);
    if (stream.before > 0) await store.streams.trim(stream.name, stream.before);
  }
}

async function collect<T>(all: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const one of all) found.push(one);
  return found;
}

/** Everything that an archive lists, in one order. */
async function listed(archive: Archive): Promise<unknown> {
  const specs = (await archive.collections()).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const docs: Record<string, unknown> = {};
  for (const { name: collection } of specs) docs[collection] = await collect(archive.docs(collection));
  const streams: StoredStream[] = await collect(archive.streams());
  return { specs, docs, streams: streams.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

async function copy(from: Archive, to: Archive): Promise<void> {
  for (const spec of await from.collections()) await to.addDocs(spec, await collect(from.docs(spec.name)));
  await to.addStreams(await collect(from.streams()));
}

/** What every store can be asked for as a whole. `open` gives an empty one. */
export function archiveContract(of: string, open: () => Promise<Opened<Holding>>): void {
  describe(`archive contract: ${of}`, () => {
    it("lists what was written through the ports, and another store that is filled from that is the same", async () => {
      await fc.assert(
        fc.asyncProperty(filling, async (given) => {
          const opening = await open();
          const { subject } = opening;
          const [model, twin] = [await openMemoryArchive(), await openMemoryArchive()];
          try {
            await fill(subject, given);
            await fill(model, given);
            const whole = await listed(model.archive);
            assert.deepEqual(await listed(subject.archive), whole);
            await copy(subject.archive, twin.archive);
            assert.deepEqual(await listed(twin.archive), whole);
          } finally {
            await opening.close();
          }
        }),
        { numRuns: 6 },
      );
    });

    it("is filled from another store, and no different when it is filled again", async () => {
      await fc.assert(
        fc.asyncProperty(filling, async (given) => {
          const opening = await open();
          const { subject } = opening;
          const model = await openMemoryArchive();
          try {
            await fill(model, given);
            const whole = await listed(model.archive);
            for (let times = 0; times < 2; times += 1) {
              await copy(model.archive, subject.archive);
              assert.deepEqual(await listed(subject.archive), whole);
            }
            for (const { name: stream, before: floor, entries } of given.streams) {
              const head = entries.at(-1);
              assert.deepEqual(
                await subject.store.streams.head(stream),
                await model.store.streams.head(stream),
              );
              const past = Math.min(floor, head?.at ?? 1) - 1;
              if (past > 0)
                assert.equal(await subject.store.streams.append(stream, { at: past, entry: {} }), "taken");
            }
          } finally {
            await opening.close();
          }
        }),
        { numRuns: 6 },
      );
    });

    let opened: Opened<Holding>;
    before(async () => {
      opened = await open();
    });
    after(() => opened.close());

    it("keeps the unique keys of a collection that it fills", async () => {
      const { store, archive } = opened.subject;
      await archive.addDocs(PEOPLE, [{ id: "1", name: "ada", team: "x" } as Doc]);
      const [spec] = await archive.collections();
      assert.deepEqual(spec, PEOPLE);
      const people = store.open<Doc & { name: string }>(PEOPLE);
      assert.equal(await people.insert({ id: "2", name: "ada" }), "taken");
      assert.equal(await people.insert({ id: "3", name: "bo" }), "ok");
      assert.deepEqual(
        (await collect(archive.docs("people"))).map(({ id }) => id),
        ["1", "3"],
      );
    });

    it("names the documents that have rows and the streams that begin alike", async () => {
      const { store, archive } = opened.subject;
      const row = { epoch: 1, node: "n", seq: 1, at: 1, by: "ada", update: Uint8Array.of(0, 0) };
      await store.documents.appendRows([
        { ...row, document: "notes:a" },
        { ...row, document: "notes:b" },
        { ...row, document: "notes:b", seq: 2 },
      ]);
      await store.documents.removeRows([{ ...row, document: "notes:a" }]);
      const documents = await collect(archive.documents());
      assert.ok(documents.includes("notes:b"));
      assert.deepEqual(documents, [...new Set(documents)]);
      for (const stream of ["head:x", "head:y", "header", "head", "hea%", "other"])
        await store.streams.append(stream, { at: 1, entry: {} });
      const names = await collect(archive.streamNames("head:"));
      assert.deepEqual(names.toSorted(), ["head:x", "head:y"]);
    });
  });
}
