import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";
import type { UpdateRow } from "@scriptorium/collab";
import { Failure, newId, type AppendOutcome } from "@scriptorium/shared";
import type { Collection, InsertOutcome } from "../../src/storage/ports.ts";
import type { Store } from "../../src/storage/store.ts";

/** Writers that go on through whatever happens to the store, and their books of what it told them. */

const ROWS_AT_ONCE = 3;
const RETRY_MS = 20;
const CONTENDED = "contended";
const PATCHES = 3;

/** A document of one writer, or one whose slug every writer wants. */
interface Item {
  readonly id: string;
  readonly slug?: string;
  readonly n: number;
}

export interface Books {
  readonly rows: UpdateRow[];
  /** What was said of each op at each position, in the order in which it was said. */
  readonly appends: { readonly at: number; readonly op: string; readonly outcome: AppendOutcome }[];
  /** Ids that won a slug. */
  readonly slugs: Map<string, string>;
  /** The last number that was written into an item, or that it was removed. */
  readonly items: Map<string, number | "removed">;
  readonly parts: Map<string, Uint8Array>;
}

export interface Crowd {
  readonly books: Books;
  /** Operations that failed, all of them with `try_later`. */
  readonly failures: number;
  stop(): Promise<void>;
}

/** Tries until it is done, as every caller of the store does; fails the test on anything but `try_later`. */
export async function insist<T>(work: () => Promise<T>, onFailure: () => void = () => undefined): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      assert.ok(error instanceof Failure && error.code === "try_later", inspect(error));
      onFailure();
      await delay(RETRY_MS);
    }
  }
}

export function openItems({ open }: Store): Collection<Item> {
  return open<Item>({ name: "items", unique: [["slug"]], indexes: [] });
}

/** Each store is a node, with writers of every kind. */
export function startWriting(stores: readonly Store[]): Crowd {
  const books: Books = {
    rows: [],
    appends: [],
    slugs: new Map(),
    items: new Map(),
    parts: new Map(),
  };
  const ending = new AbortController();
  let failures = 0;
  const failed = () => void (failures += 1);
  const again = async (work: (n: number) => Promise<void>): Promise<void> => {
    for (let n = 1; !ending.signal.aborted; n += 1) await work(n);
  };
  const running = Promise.all(
    stores.flatMap((store, node) => {
      const place = { store, items: openItems(store), name: `node-${node}`, books, failed };
      return [writeRows, writeEntries, writeSlugs, writeItems, writeParts].map((work) =>
        again((n) => work(place, n)),
      );
    }),
  );
  return {
    books,
    get failures() {
      return failures;
    },
    async stop() {
      ending.abort();
      await running;
    },
  };
}

interface Place {
  readonly store: Store;
  readonly items: Collection<Item>;
  readonly name: string;
  readonly books: Books;
  readonly failed: () => void;
}

async function writeRows({ store: { documents }, name, books, failed }: Place, n: number): Promise<void> {
  const batch = Array.from({ length: ROWS_AT_ONCE }, (_, i) => {
    const seq = (n - 1) * ROWS_AT_ONCE + i + 1;
    const update = new TextEncoder().encode(`${name}/${seq}`);
    return { document: "doc", epoch: 1, node: name, seq, at: 1_700_000_000_000, by: "ada", update };
  });
  await insist(() => documents.appendRows(batch), failed);
  books.rows.push(...batch);
  const known = books.rows.length;
  // Whatever has been acknowledged to any node is seen by every node.
  const seen = new Set((await insist(() => documents.listRows("doc", 1), failed)).map(nameOf));
  assert.deepEqual(
    books.rows.slice(0, known).filter((row) => !seen.has(nameOf(row))),
    [],
  );
}

const nameOf = ({ node, seq }: { node: string; seq: number }) => `${node}/${seq}`;

async function writeEntries({ store: { streams }, name, books, failed }: Place, n: number): Promise<void> {
  const op = `${name}/${n}`;
  for (;;) {
    const at = ((await insist(() => streams.head(CONTENDED), failed))?.at ?? 0) + 1;
    const outcome = await insist(() => streams.append(CONTENDED, { at, entry: { name }, op }), failed);
    books.appends.push({ at, op, outcome });
    if (outcome !== "taken") return;
  }
}

/** Whether the document is this writer's: it was told so, or was not told and finds it. */
async function insertOwn({ items, failed }: Place, item: Item): Promise<boolean> {
  let doubt = false;
  const attempt = (): Promise<InsertOutcome> => items.insert(item);
  const outcome = await insist(attempt, () => {
    doubt = true;
    failed();
  });
  const found = await insist(() => items.get(item.id), failed);
  if (!doubt) assert.equal(found !== undefined, outcome === "ok", `${item.id} was said to be ${outcome}`);
  return found !== undefined;
}

async function patchInTurn({ items, books, failed }: Place, id: string): Promise<void> {
  for (let n = 1; n <= PATCHES; n += 1) {
    const patched = await insist(() => items.patch(id, { n }), failed);
    assert.equal(typeof patched === "string" ? patched : patched.n, n);
    books.items.set(id, n);
  }
}

async function writeSlugs(place: Place, n: number): Promise<void> {
  const { books, name } = place;
  const item = { id: newId(), slug: `slug-${n}`, n: 0 };
  if (!(await insertOwn(place, item))) return;
  assert.equal(books.slugs.get(item.slug), undefined, `${name} and another have won ${item.slug}`);
  books.slugs.set(item.slug, item.id);
  await patchInTurn(place, item.id);
}

async function writeItems(place: Place, n: number): Promise<void> {
  const item = { id: newId(), n: 0 };
  assert.ok(await insertOwn(place, item), "nobody else has this id");
  await patchInTurn(place, item.id);
  if (n % 2 === 0) return;
  let doubt = false;
  const there = await insist(
    () => place.items.remove(item.id),
    () => {
      doubt = true;
      place.failed();
    },
  );
  assert.ok(there || doubt);
  place.books.items.set(item.id, "removed");
}

async function writeParts({ store: { documents }, name, books, failed }: Place, n: number): Promise<void> {
  const id = `${name}-${n}`;
  const body = new Uint8Array(1_000 * (n % 40)).fill(n % 251);
  await insist(() => documents.putPart({ document: "doc", id, body }), failed);
  books.parts.set(id, body);
}

/** What was acknowledged is there once, and nothing else is. */
export async function assertBooks(
  store: Store,
  { rows, appends, slugs, items, parts }: Books,
): Promise<void> {
  const byName = (a: UpdateRow, b: UpdateRow) =>
    a.node === b.node ? a.seq - b.seq : a.node < b.node ? -1 : 1;
  assert.deepEqual(await store.documents.readRows("doc", 1), rows.toSorted(byName), "every row once");

  const entries = await store.streams.read(CONTENDED, 1, 1_000_000);
  assert.deepEqual(
    entries.map(({ at }) => at),
    entries.map((_, i) => i + 1),
    "no position is missing",
  );
  const ops = entries.map(({ op }) => op);
  const settled = appends.filter(({ outcome }) => outcome !== "taken").map(({ op }) => op);
  assert.deepEqual([...new Set(ops)], ops, "no op is there twice");
  assert.deepEqual(new Set(ops), new Set(settled), "every op that was acknowledged, and no other");
  for (const { at, op, outcome } of appends)
    if (outcome !== "seen")
      assert.equal(ops[at - 1] === op, outcome === "ok", `${op} at ${at} was ${outcome}`);

  const table = openItems(store);
  for (const [slug, id] of slugs) {
    const found = await table.find({ where: { slug }, limit: 2 });
    assert.deepEqual(
      found.map((item) => item.id),
      [id],
      `${slug} has one winner`,
    );
  }
  for (const [id, last] of items) assert.equal((await table.get(id))?.n ?? "removed", last);
  for (const [id, body] of parts) assert.deepEqual(await store.documents.getPart("doc", id), body);
}

export function countOf({ rows, appends, slugs, items, parts }: Books): string {
  const taken = appends.filter(({ outcome }) => outcome === "taken").length;
  return (
    `${rows.length} rows, ${appends.length - taken} ops (${taken} races lost), ` +
    `${slugs.size} slugs, ${items.size} items, ${parts.size} parts`
  );
}
