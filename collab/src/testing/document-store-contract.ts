import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { newId } from "@scriptorium/shared";
import type { Opened } from "@scriptorium/shared/testing";
import fc from "fast-check";
import type { DocumentStore, RowId, RowName, UpdateRow } from "../ports.ts";
import { memoryDocumentStore } from "./memory-document-store.ts";

const NODES = ["node-b", "node-a", "node-c"];

function row(fields: Partial<UpdateRow> & Pick<UpdateRow, "document">): UpdateRow {
  const base = { epoch: 1, node: "node-a", seq: 1, at: 1_700_000_000_000, by: "alice" };
  return { ...base, update: new Uint8Array([1, 2, 3]), ...fields };
}

/** Rows with their own sequence numbers 1..n. */
function rows(document: string, count: number, fields: Partial<UpdateRow> = {}): UpdateRow[] {
  return Array.from({ length: count }, (_, i) =>
    row({ document, seq: i + 1, update: new Uint8Array([i, i >> 8, 7]), ...fields }),
  );
}

/** For comparison: a listing has no order. */
function namesOf(named: readonly RowName[]): string[] {
  return named.map(({ node, seq }) => `${node} ${seq}`).toSorted();
}

async function namesIn(store: DocumentStore, document: string, epoch = 1): Promise<string[]> {
  const listed = await store.listRows(document, epoch);
  assert.ok(
    listed.every((name) => Object.keys(name).toSorted().join() === "node,seq"),
    "names and nothing else",
  );
  return namesOf(listed);
}

type Step =
  | { readonly kind: "append"; readonly rows: readonly Omit<UpdateRow, "document">[] }
  | { readonly kind: "remove"; readonly ids: readonly Omit<RowId, "document">[] }
  | { readonly kind: "purge"; readonly epoch: number };

const rowId = fc.record({
  epoch: fc.integer({ min: 1, max: 3 }),
  node: fc.constantFrom(...NODES),
  seq: fc.integer({ min: 1, max: 12 }),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      rows: fc.array(
        fc
          .tuple(
            rowId,
            fc.record({
              at: fc.integer({ min: 0, max: 4_000_000_000_000 }),
              by: fc.constantFrom("alice", "bob", "", "张三"),
              update: fc.uint8Array({ maxLength: 60 }),
            }),
          )
          .map(([id, content]) => ({ ...id, ...content })),
        { maxLength: 8 },
      ),
    }),
  },
  fc.record({ kind: fc.constant("remove" as const), ids: fc.array(rowId, { maxLength: 6 }) }),
  fc.record({ kind: fc.constant("purge" as const), epoch: fc.integer({ min: 0, max: 2 }) }),
);

async function apply(store: DocumentStore, document: string, next: Step): Promise<void> {
  switch (next.kind) {
    case "append":
      return store.appendRows(next.rows.map((fields) => ({ ...fields, document })));
    case "remove":
      return store.removeRows(next.ids.map((id) => ({ ...id, document })));
    case "purge":
      return store.purgeRows(document, next.epoch);
    default:
      throw new Error(`no such step: ${JSON.stringify(next satisfies never)}`);
  }
}

/**
 * What every implementation of `DocumentStore` promises; `open` is called once for the suite. `heads` has a suite of its
 * own, `streamsContract`.
 */
export function documentStoreContract(name: string, open: () => Promise<Opened<DocumentStore>>): void {
  describe(`document store contract: ${name}`, () => {
    let opened: Opened<DocumentStore>;
    let store: DocumentStore;
    before(async () => {
      opened = await open();
      store = opened.subject;
    });
    after(() => opened.close());

    it("is empty for a document that nobody wrote", async () => {
      const document = newId();
      assert.deepEqual(await store.readRows(document, 1), []);
      assert.deepEqual(await store.listRows(document, 1), []);
      assert.deepEqual(await store.getRows([]), []);
      assert.deepEqual(await store.getRows([row({ document })]), []);
      assert.deepEqual(await store.listParts(document), []);
      assert.equal(await store.getPart(document, "p"), undefined);
      await store.appendRows([]);
      await store.removeRows([]);
      await store.removeRows([row({ document })]);
      await store.removeParts(document, ["p"]);
      await store.purgeRows(document, 9);
    });

    it("gives rows back whole, ordered by node and then by number", async () => {
      const document = newId();
      const written = NODES.flatMap((node) => rows(document, 3, { node, by: `of ${node}` }));
      await store.appendRows(written.toReversed());
      assert.deepEqual(
        await store.readRows(document, 1),
        written.toSorted((a, b) => (a.node === b.node ? a.seq - b.seq : a.node < b.node ? -1 : 1)),
      );
    });

    it("orders numbers as numbers", async () => {
      const document = newId();
      const seqs = [1000, 2, 300, 10, 70_000, 1, 5_000_000_000];
      await store.appendRows(seqs.map((seq) => row({ document, seq })));
      assert.deepEqual(
        (await store.readRows(document, 1)).map((found) => found.seq),
        seqs.toSorted((a, b) => a - b),
      );
    });

    it("keeps one copy of a row that is appended again, in another batch and within one", async () => {
      const document = newId();
      const written = rows(document, 5);
      await store.appendRows(written.slice(0, 3));
      await store.appendRows([...written, ...written]);
      assert.deepEqual(await store.readRows(document, 1), written);
    });

    it("keeps documents and epochs apart", async () => {
      const [a, b] = [newId(), newId()];
      const written = [row({ document: a }), row({ document: a, epoch: 2, by: "bob" }), row({ document: b })];
      await store.appendRows(written);
      assert.deepEqual(await store.readRows(a, 1), [written[0]]);
      assert.deepEqual(await store.readRows(a, 2), [written[1]]);
      assert.deepEqual(await store.readRows(b, 1), [written[2]]);
      assert.deepEqual(await store.readRows(b, 2), []);
    });

    it("takes a batch of many documents, nodes, sizes and none at all", async () => {
      const documents = Array.from({ length: 40 }, () => newId());
      const sizes = [0, 1, 127, 128, 20, 4_096, 70_000];
      const written = documents.flatMap((document, i) =>
        sizes.map((size, seq) =>
          row({ document, seq: seq + 1, by: `user-${i % 7}`, update: new Uint8Array(size).fill(i + seq) }),
        ),
      );
      await store.appendRows(written);
      for (const document of documents) {
        assert.deepEqual(
          await store.readRows(document, 1),
          written.filter((found) => found.document === document),
        );
      }
    });

    it("lists the names of an epoch's rows, and of no other epoch or document", async () => {
      const [a, b] = [newId(), newId()];
      const written = NODES.flatMap((node) => rows(a, 3, { node }));
      const others = [row({ document: a, epoch: 2, seq: 7 }), row({ document: b, seq: 8 })];
      await store.appendRows([...written, ...others]);
      assert.deepEqual(await namesIn(store, a), namesOf(written));
      assert.deepEqual(await namesIn(store, a, 2), ["node-a 7"]);
      assert.deepEqual(await namesIn(store, b), ["node-a 8"]);
      await store.removeRows(written.slice(0, 4));
      assert.deepEqual(await namesIn(store, a), namesOf(written.slice(4)));
      await store.purgeRows(a, 1);
      assert.deepEqual(await namesIn(store, a), []);
    });

    it("gives those of the named rows that are there, once each, ordered by node and then by number", async () => {
      const [a, b] = [newId(), newId()];
      const written = NODES.flatMap((node) => rows(a, 12, { node, by: `of ${node}` }));
      await store.appendRows([...written, row({ document: a, epoch: 2 }), row({ document: b })]);
      const named = [11, 2, 10, 9, 3].flatMap((seq) => NODES.map((node) => row({ document: a, node, seq })));
      const unknown = [
        row({ document: a, seq: 13 }),
        row({ document: a, epoch: 3, seq: 2 }),
        row({ document: a, node: "node-d", seq: 2 }),
        row({ document: b, seq: 2 }),
        row({ document: newId(), seq: 2 }),
      ];
      const found = await store.getRows([...named, ...unknown, ...named]);
      assert.deepEqual(
        found,
        (await store.readRows(a, 1)).filter(({ seq }) => [2, 3, 9, 10, 11].includes(seq)),
      );
      assert.equal(found.length, named.length);
      await store.removeRows(named.slice(0, 3));
      assert.deepEqual(await store.getRows(named.slice(0, 4)), await store.getRows(named.slice(3, 4)));
      const both = await store.getRows([...named.slice(3, 9), row({ document: a, epoch: 2 })]);
      assert.deepEqual(
        both.map(({ epoch, node, seq }) => `${node} ${seq} of ${epoch}`),
        ["a 1 of 2", "a 2 of 1", "a 10 of 1", "b 2 of 1", "b 10 of 1", "c 2 of 1", "c 10 of 1"].map(
          (rest) => `node-${rest}`,
        ),
      );
    });

    it("takes any name of a document, a node and an author", async () => {
      const odd = ["a/b", "a%2Fb", "a", "a.b", "a$b", "a b", "ä", "论文", "👩‍🔬", "__proto__", "0", ""];
      const prefix = newId();
      const written = odd.flatMap((title) =>
        odd.map((node, i) => row({ document: `${prefix}${title}`, node, seq: i + 1, by: title })),
      );
      await store.appendRows(written);
      for (const title of odd) {
        const document = `${prefix}${title}`;
        const own = written.filter((found) => found.document === document);
        const expected = own.toSorted((x, y) => (x.node < y.node ? -1 : 1));
        assert.deepEqual(await store.readRows(document, 1), expected, title);
        assert.deepEqual(await namesIn(store, document), namesOf(own), title);
        assert.deepEqual(await store.getRows(own), expected, title);
      }
    });

    it("gives thousands of rows by name, and large ones", async () => {
      const document = newId();
      const many = rows(document, 2_500);
      const large = row({ document, node: "node-c", update: new Uint8Array(9 * 1024 * 1024).fill(5) });
      await store.appendRows(many);
      await store.appendRows([large]);
      assert.deepEqual(await namesIn(store, document), namesOf([...many, large]));
      const found = await store.getRows([large, ...many.toReversed(), ...many]);
      const last = found.pop();
      assert.deepEqual(found, many);
      // Not deepEqual, which takes minutes for megabytes.
      assert.ok(last !== undefined && Buffer.compare(last.update, large.update) === 0);
      assert.deepEqual({ ...last, update: large.update }, large);
    });

    it("takes nothing from and shares nothing with the caller", async () => {
      const document = newId();
      const update = new Uint8Array([9, 1, 2, 3, 9]).subarray(1, 4);
      const pending = store.appendRows([row({ document, update })]);
      update.fill(8);
      await pending;
      assert.equal(update.length, 3, "the caller's buffer is still its own");
      const [first] = await store.readRows(document, 1);
      first?.update.fill(7);
      const [second] = await store.readRows(document, 1);
      assert.deepEqual(second?.update, new Uint8Array([1, 2, 3]));
    });

    it("removes exactly the rows that were named", async () => {
      const document = newId();
      const written = rows(document, 10);
      const other = rows(document, 10, { node: "node-c" });
      await store.appendRows([...written, ...other]);
      await store.removeRows(written.filter((found) => found.seq % 2 === 0));
      assert.deepEqual(await store.readRows(document, 1), [
        ...written.filter((found) => found.seq % 2 === 1),
        ...other,
      ]);
    });

    it("purges all epochs up to one, and only of that document", async () => {
      const [a, b] = [newId(), newId()];
      const written = [1, 2, 3].map((epoch) => row({ document: a, epoch }));
      const other = row({ document: b });
      await store.appendRows([...written, other]);
      await store.purgeRows(a, 2);
      assert.deepEqual(await store.readRows(a, 1), []);
      assert.deepEqual(await store.readRows(a, 2), []);
      assert.deepEqual(await store.readRows(a, 3), [written[2]]);
      assert.deepEqual(await store.readRows(b, 1), [other]);
      const again = row({ document: a, epoch: 2, by: "late" });
      await store.appendRows([again]);
      assert.deepEqual(await store.readRows(a, 2), [again], "an epoch that was purged can be written again");
    });

    it("keeps parts of any size, once per id, by document", async () => {
      const [a, b] = [newId(), newId()];
      const sizes = [0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 2_600_000];
      const startedAt = Date.now() - 1;
      for (const size of sizes) {
        const body = new Uint8Array(size).map((_, i) => (i * 31 + size) % 251);
        await store.putPart({ document: a, id: `p${size}`, body });
        const found = await store.getPart(a, `p${size}`);
        assert.ok(found !== undefined && Buffer.compare(found, body) === 0, `a part of ${size} bytes`);
        assert.equal(body.length, size, "the caller's buffer is still its own");
      }
      await store.putPart({ document: a, id: "p1", body: new Uint8Array([99]) });
      assert.deepEqual(
        await store.getPart(a, "p1"),
        new Uint8Array([1]),
        "the same id twice is the same part",
      );
      assert.equal(await store.getPart(b, "p1"), undefined);
      const listed = await store.listParts(a);
      assert.deepEqual(listed.map((part) => part.id).toSorted(), sizes.map((size) => `p${size}`).toSorted());
      assert.ok(listed.every((part) => part.at >= startedAt && part.at <= Date.now() + 1));
    });

    it("removes exactly the parts that were named", async () => {
      const [a, b] = [newId(), newId()];
      for (const document of [a, b]) {
        for (const id of ["x", "y", "z"]) await store.putPart({ document, id, body: new Uint8Array([1]) });
      }
      await store.removeParts(a, ["x", "z", "unknown"]);
      assert.deepEqual(
        (await store.listParts(a)).map((part) => part.id),
        ["y"],
      );
      assert.equal(await store.getPart(a, "x"), undefined);
      assert.deepEqual(await store.getPart(b, "x"), new Uint8Array([1]));
      await store.putPart({ document: a, id: "x", body: new Uint8Array([2]) });
      assert.deepEqual(await store.getPart(a, "x"), new Uint8Array([2]), "a removed id can be written again");
    });

    it("takes many batches at once and loses none", async () => {
      const document = newId();
      const written = rows(document, 300);
      await Promise.all(written.map((one) => store.appendRows([one])));
      assert.deepEqual(await store.readRows(document, 1), written);
    });

    it("behaves like the model under any sequence of steps", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
          const model = memoryDocumentStore();
          const document = newId();
          for (const next of steps) {
            await apply(model, document, next);
            await apply(store, document, next);
          }
          for (const epoch of [1, 2, 3]) {
            const expected = await model.readRows(document, epoch);
            assert.deepEqual(await store.readRows(document, epoch), expected);
            assert.deepEqual(await namesIn(store, document, epoch), namesOf(expected));
            assert.deepEqual(await store.getRows(expected), expected);
          }
        }),
        { numRuns: 25 },
      );
    });
  });
}
