import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { newId } from "@scriptorium/shared";
import type { Opened } from "@scriptorium/shared/testing";
import fc from "fast-check";
import { memoryCollections } from "../adapters/memory/collections.ts";
import type { Collection, CollectionSpec, Doc, FindOptions, OpenCollection } from "../ports.ts";

interface Paper extends Doc {
  readonly project?: string;
  readonly slug?: string | null;
  readonly title?: string | undefined;
  readonly year?: number;
  readonly open?: boolean;
  readonly tags?: readonly string[];
  readonly event?: { readonly place?: string | undefined };
}

let collections = 0;

/** A name of its own for every test, as in `papers7`. */
function paperSpec(): CollectionSpec {
  collections += 1;
  return {
    name: `papers${collections}`,
    unique: [["project", "slug"]],
    indexes: [["project"], ["year", "open"]],
  };
}

type Step =
  | { readonly kind: "insert"; readonly id: string; readonly fields: Omit<Paper, "id"> }
  | { readonly kind: "patch"; readonly id: string; readonly fields: Omit<Paper, "id"> }
  | { readonly kind: "remove"; readonly id: string }
  | { readonly kind: "removeWhere"; readonly where: FindOptions["where"] }
  | { readonly kind: "find"; readonly options: FindOptions };

const id = fc.constantFrom("a", "b", "c", "d", "e");
const year = fc.constantFrom(-1, 0, 1999, 2000.5, 1e15);
const project = fc.constantFrom("p1", "p2", "1", "");
const fields: fc.Arbitrary<Omit<Paper, "id">> = fc.record(
  {
    project,
    slug: fc.constantFrom("x", "y", "é\u0000'\"", null),
    title: fc.string(),
    year,
    open: fc.boolean(),
    tags: fc.array(fc.string(), { maxLength: 3 }),
  },
  { requiredKeys: [] },
);
const where = fc.oneof(
  fc.record({ project }),
  fc.record({ year, open: fc.boolean() }),
  fc.record({ year }),
  fc.record({ project, slug: fc.constantFrom("x", "y", "é\u0000'\"") }),
  fc.constant({}),
);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("insert" as const), id, fields }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("patch" as const), id, fields }) },
  fc.record({ kind: fc.constant("remove" as const), id }),
  fc.record({ kind: fc.constant("removeWhere" as const), where }),
  fc.record({
    kind: fc.constant("find" as const),
    options: fc.record(
      { where, after: id, descending: fc.boolean(), limit: fc.integer({ min: 0, max: 4 }) },
      { requiredKeys: ["where", "limit"] },
    ),
  }),
);

async function apply(papers: Collection<Paper>, next: Step): Promise<unknown> {
  switch (next.kind) {
    case "insert":
      return papers.insert({ ...next.fields, id: next.id });
    case "patch":
      return papers.patch(next.id, next.fields);
    case "remove":
      return papers.remove(next.id);
    case "removeWhere":
      return papers.removeWhere(next.where);
    case "find":
      return papers.find(next.options);
    default:
      throw new Error(`no such step: ${JSON.stringify(next satisfies never)}`);
  }
}

/** What every implementation of `Collection` promises; `open` is called once for the suite. */
export function collectionContract(name: string, open: () => Promise<Opened<OpenCollection>>): void {
  describe(`collection contract: ${name}`, () => {
    let opened: Opened<OpenCollection>;
    const papersOf = (spec: CollectionSpec = paperSpec()) => opened.subject<Paper>(spec);
    before(async () => {
      opened = await open();
    });
    after(() => opened.close());

    it("gives back what was inserted", async () => {
      const papers = papersOf();
      const paper: Paper = {
        id: newId(),
        title: "é 张 \u0000 '\"",
        year: 0.1,
        open: false,
        tags: ["a"],
        event: {},
      };
      assert.equal(await papers.get(paper.id), undefined);
      assert.equal(await papers.insert(paper), "ok");
      assert.deepEqual(await papers.get(paper.id), paper);
      assert.equal(await papers.insert({ id: paper.id, title: "other" }), "taken");
      assert.deepEqual(await papers.get(paper.id), paper);
    });

    it("does not store undefined fields", async () => {
      const papers = papersOf();
      const paper = { id: newId(), title: undefined, event: { place: undefined } };
      await papers.insert(paper);
      assert.deepEqual(await papers.get(paper.id), { id: paper.id, event: {} });
    });

    it("lets no two documents share a unique key, and leaves out those that lack a field of it", async () => {
      const papers = papersOf();
      assert.equal(await papers.insert({ id: "1", project: "p", slug: "s" }), "ok");
      assert.equal(await papers.insert({ id: "2", project: "p", slug: "s" }), "taken");
      assert.equal(await papers.get("2"), undefined);
      assert.equal(await papers.insert({ id: "3", project: "q", slug: "s" }), "ok");
      for (const other of ["4", "5"]) {
        assert.equal(await papers.insert({ id: other, project: "p" }), "ok");
        assert.equal(await papers.insert({ id: `${other}n`, project: "p", slug: null }), "ok");
      }
      assert.equal(await papers.patch("3", { project: "p" }), "taken");
      assert.deepEqual(
        await papers.get("3"),
        { id: "3", project: "q", slug: "s" },
        "a refused patch changes nothing",
      );
      assert.deepEqual(await papers.patch("1", { slug: null }), { id: "1", project: "p", slug: null });
      assert.deepEqual(await papers.patch("3", { project: "p" }), { id: "3", project: "p", slug: "s" });
      assert.equal(await papers.remove("3"), true);
      assert.equal(await papers.insert({ id: "2", project: "p", slug: "s" }), "ok");
    });

    it("lets exactly one of many racing inserts under a unique key win", async () => {
      const papers = papersOf();
      const outcomes = await Promise.all(
        Array.from({ length: 16 }, (_, i) => papers.insert({ id: newId(), project: "p", slug: `s${i % 2}` })),
      );
      assert.equal(outcomes.filter((outcome) => outcome === "ok").length, 2);
      assert.equal((await papers.find({ where: { project: "p" }, limit: 100 })).length, 2);
    });

    it("patches the given fields and no others, so that both of two people win", async () => {
      const papers = papersOf();
      await papers.insert({ id: "1", title: "old", year: 1, event: { place: "here" } });
      await Promise.all([
        papers.patch("1", { title: "new" }),
        papers.patch("1", { year: 2 }),
        papers.patch("1", { event: {} }),
      ]);
      assert.deepEqual(await papers.get("1"), { id: "1", title: "new", year: 2, event: {} });
      const unset = { title: undefined, id: "2" };
      const expected = { id: "1", title: "new", year: 2, event: {} };
      assert.deepEqual(
        await papers.patch("1", unset),
        expected,
        "undefined changes nothing, and the id never changes",
      );
      assert.equal(await papers.patch("2", { title: "x" }), "missing");
    });

    it("pages through a listing by id, both ways", async () => {
      const papers = papersOf();
      const ids = Array.from({ length: 25 }, (_, i) => `id${String(i).padStart(2, "0")}`);
      for (const one of ids.toReversed())
        await papers.insert({ id: one, project: Number(one.slice(2)) % 5 === 0 ? "q" : "p" });
      const expected = ids.filter((_, i) => i % 5 !== 0);
      for (const descending of [false, true]) {
        const seen: string[] = [];
        for (;;) {
          const last = seen.at(-1);
          const cursor = last === undefined ? {} : { after: last };
          const page = await papers.find({ where: { project: "p" }, descending, limit: 6, ...cursor });
          seen.push(...page.map((paper) => paper.id));
          if (page.length < 6) break;
        }
        assert.deepEqual(seen, descending ? expected.toReversed() : expected);
      }
      assert.equal((await papers.find({ where: {}, limit: 7 })).length, 7);
    });

    it("removes one, or all that match", async () => {
      const papers = papersOf();
      for (let i = 0; i < 9; i += 1) await papers.insert({ id: `${i}`, project: i < 5 ? "p" : "q" });
      assert.equal(await papers.remove("0"), true);
      assert.equal(await papers.remove("0"), false);
      assert.equal(await papers.removeWhere({ project: "p" }), 4);
      assert.equal(await papers.removeWhere({ project: "p" }), 0);
      assert.equal((await papers.find({ where: {}, limit: 100 })).length, 4);
    });

    it("refuses a search that no index serves and names that are no identifiers", async () => {
      const papers = papersOf();
      await assert.rejects(papers.find({ where: { title: "x" }, limit: 1 }), TypeError);
      await assert.rejects(papers.find({ where: { open: true }, limit: 1 }), TypeError);
      await assert.rejects(papers.removeWhere({ project: "p", year: 1 }), TypeError);
      for (const bad of ["a b", "x'; --", "", "a.b", "1a"]) {
        assert.throws(() => opened.subject({ name: bad, unique: [], indexes: [] }), TypeError);
        assert.throws(() => opened.subject({ name: "fine", unique: [[bad]], indexes: [] }), TypeError);
      }
    });

    it("serves the same documents to whoever opens the name again", async () => {
      const spec = paperSpec();
      await papersOf(spec).insert({ id: "1", title: "kept", project: "p" });
      const again = papersOf({ ...spec, indexes: [...spec.indexes, ["title"]] });
      assert.deepEqual(await again.find({ where: { title: "kept" }, limit: 1 }), [
        { id: "1", title: "kept", project: "p" },
      ]);
    });

    it("behaves like the model under any sequence of steps", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          const spec = paperSpec();
          const model = memoryCollections()<Paper>(spec);
          const papers = papersOf(spec);
          for (const next of steps) assert.deepEqual(await apply(papers, next), await apply(model, next));
          const all = { where: {}, limit: 1000 };
          assert.deepEqual(await papers.find(all), await model.find(all));
        }),
        { numRuns: 25 },
      );
    });
  });
}
