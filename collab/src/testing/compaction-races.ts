import assert from "node:assert/strict";
import { Failure, newId } from "@scriptorium/shared";
import fc from "fast-check";
import * as Y from "yjs";
import { DEFAULT_LIMITS, type CollabLimits } from "../limits.ts";
import { applyStored } from "../part.ts";
import type { Compactor, DocumentStore, UpdateRow } from "../ports.ts";
import { eachOperation } from "./each-operation.ts";
import { compact, loadDocument, readHead, replaceDocument, type CompactionDeps } from "../snapshot.ts";

/** Limits under which every compaction is of one kind. */
export const KINDS = {
  base: { deltaRatio: -1 },
  delta: { deltas: 100, deltaRatio: 1_000 },
  carrying: { deltas: 2, deltaRatio: 1_000 },
} as const satisfies Readonly<Record<string, Partial<CollabLimits>>>;
type Kind = keyof typeof KINDS;

const HOUR_MS = 3_600_000;
const LOOKS = 3;
/** Whose process may fail in any way. */
const BROKEN: ReadonlySet<Process["fate"]> = new Set(["crashes", "loses-an-answer", "is-done-late"]);
const LOG = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** One process: what it does, by which clock, and what becomes of it when it has done some operations. */
export interface Process {
  readonly does: Kind | "write" | "replace";
  readonly clockAheadHours: number;
  /** `is-done-late`: it is told that the operation failed, and the store does it when the others have ended. */
  readonly fate:
    | "lives"
    | "crashes"
    | "loses-an-answer"
    | "is-done-late"
    | "stops-until-the-others-have-ended";
  readonly after: number;
}

/** At most one process writes under each name, as boot ids are: the name is its place. */
export const processes: fc.Arbitrary<Process[]> = fc.array(
  fc.record({
    does: fc.constantFrom("base", "base", "delta", "carrying", "write", "replace"),
    clockAheadHours: fc.constantFrom(0, 0, -2, 2),
    fate: fc.constantFrom(
      "lives",
      "lives",
      "crashes",
      "loses-an-answer",
      "is-done-late",
      "stops-until-the-others-have-ended",
    ),
    after: fc.nat({ max: 14 }),
  }),
  { minLength: 2, maxLength: 5 },
);

export interface RaceDeps {
  /** The same data as each of the nodes sees it. */
  readonly stores: readonly [DocumentStore, ...DocumentStore[]];
  readonly compactor: Compactor;
  readonly scheduler: fc.Scheduler;
}

/** What was committed, by epoch; the content of a row is its own name. */
interface Scene extends Pick<RaceDeps, "compactor" | "scheduler"> {
  readonly store: DocumentStore;
  readonly document: string;
  readonly committed: Map<number, Set<string>>;
  /** Of operations whose callers have given up. */
  readonly late: Promise<unknown>[];
}

/**
 * Lets processes loose on one document, one operation at a time in the order of the scheduler, and asserts all the while
 * that whatever is loaded holds every row of its epoch that was committed by then, and nothing of another epoch; and in
 * the end that the store holds nothing else.
 */
export async function race(deps: RaceDeps, given: readonly Process[]): Promise<void> {
  const { scheduler, stores } = deps;
  const [store] = stores;
  const scene: Scene = { ...deps, store, document: `notes:${newId()}`, committed: new Map(), late: [] };
  // A base, a delta and rows to begin with.
  for (const kind of ["base", "delta", undefined] as const) {
    await write(scene, `first-${kind}`);
    if (kind !== undefined) await compact(depsOf(scene, { kind }), scene.document);
  }
  const others = Promise.withResolvers<void>();
  const running = given.map((process, place) => {
    const node = { ...scene, store: stores[place % stores.length] ?? store };
    const own = { ...scene, store: withFate(node, process, others.promise) };
    const stops = process.fate === "stops-until-the-others-have-ended";
    return { stops, ended: toItsEnd(process, run(own, process, place)) };
  });
  const toTheEnd = async (): Promise<void> => {
    const free = running.filter(({ stops }) => !stops);
    await Promise.all([look(scene), ...free.map(({ ended }) => ended)]);
    others.resolve();
    await Promise.all([look(scene), ...running.map(({ ended }) => ended)]);
    await Promise.allSettled(scene.late);
  };
  await scheduler.waitFor(toTheEnd());
  await assertTidy(scene);
}

/** A process that nothing has happened to may be told to try later, and may fail in no other way. */
async function toItsEnd({ fate }: Process, running: Promise<void>): Promise<void> {
  const [outcome] = await Promise.allSettled([running]);
  if (outcome.status === "fulfilled" || BROKEN.has(fate)) return;
  if (!isTryLater(outcome.reason)) throw outcome.reason;
}

/** At once between two operations of the others, and slowly while they go on. */
async function look(scene: Scene): Promise<void> {
  const { store, scheduler } = scene;
  const slow = eachOperation(store, async (operation, work) => {
    await scheduler.schedule(Promise.resolve(), `look ${operation}`);
    return work();
  });
  for (let i = 0; i < LOOKS; i += 1) {
    await scheduler.schedule(Promise.resolve(), "look");
    await assertWhole(scene);
    const [outcome] = await Promise.allSettled([assertWhole({ ...scene, store: slow })]);
    if (outcome.status === "rejected" && !isTryLater(outcome.reason)) throw outcome.reason;
  }
}

function isTryLater(error: unknown): boolean {
  return error instanceof Failure && error.code === "try_later";
}

async function run(scene: Scene, { does, clockAheadHours }: Process, place: number): Promise<void> {
  switch (does) {
    case "write":
      // As a node that does not hear of replacements: it goes on in the epoch that it has begun in.
      return write(scene, `node-${place}`, 3);
    case "replace": {
      const update = updateOf(`replacement-${place}`);
      await replaceDocument(depsOf(scene, { clockAheadHours }), scene.document, { update, retired: [] });
      return;
    }
    case "base":
    case "delta":
    case "carrying":
      for (let i = 0; i < 2; i += 1) {
        await compact(depsOf(scene, { kind: does, clockAheadHours }), scene.document);
      }
      return;
    default:
      throw new Error(`nobody does this: ${String(does satisfies never)}`);
  }
}

async function write(scene: Scene, node: string, count = 1): Promise<void> {
  const { epoch } = (await readHead(scene.store, scene.document)).head;
  for (let seq = 1; seq <= count; seq += 1) {
    const key = `${epoch} ${node} ${seq}`;
    const row: UpdateRow = {
      document: scene.document,
      epoch,
      node,
      seq,
      at: 0,
      by: "ada",
      update: updateOf(key),
    };
    await scene.store.appendRows([row]);
    scene.committed.set(epoch, new Set(scene.committed.get(epoch)).add(key));
  }
}

function updateOf(key: string): Uint8Array {
  const doc = new Y.Doc();
  doc.getMap("keys").set(key, true);
  return Y.encodeStateAsUpdate(doc);
}

function depsOf(
  { compactor, store }: Scene,
  { kind = "base", clockAheadHours = 0 }: { kind?: Kind; clockAheadHours?: number },
): CompactionDeps {
  const limits = { ...DEFAULT_LIMITS, ...KINDS[kind] };
  return { store, compactor, limits, now: () => Date.now() + clockAheadHours * HOUR_MS, log: LOG };
}

/** The store as the process sees it: every operation waits for its turn, and one of them for its fate. */
function withFate(
  { store, scheduler, late }: Scene,
  { does, fate, after }: Process,
  others: Promise<void>,
): DocumentStore {
  let done = 0;
  return eachOperation(store, async (name, work) => {
    done += 1;
    await scheduler.schedule(Promise.resolve(), `${does} ${name}`);
    if (fate === "crashes" && done > after) throw new Error("the process has crashed");
    if (fate === "stops-until-the-others-have-ended" && done === after + 1) await others;
    if (fate === "is-done-late" && done === after + 1) {
      late.push(others.then(work));
      throw new Error("the store has not answered in time");
    }
    const result = await work();
    if (fate === "loses-an-answer" && done === after + 1) throw new Error("the answer of the store is lost");
    return result;
  });
}

async function assertWhole({ store, document, committed }: Scene): Promise<void> {
  const expected = new Map([...committed].map(([epoch, keys]) => [epoch, [...keys]]));
  const { head, parts, rows } = await loadDocument(store, document);
  const doc = new Y.Doc();
  applyStored(doc, { parts, updates: rows.map(({ update }) => update) }, undefined);
  const keys = new Set(doc.getMap("keys").keys());
  const lost = (expected.get(head.epoch) ?? []).filter((key) => !keys.has(key));
  assert.deepEqual(lost, [], `committed in epoch ${head.epoch}, and gone`);
  const replacements = [...keys].filter((key) => key.startsWith("replacement"));
  assert.equal(replacements.length, head.epoch === 1 ? 0 : 1, "what the epoch began with");
  const foreign = [...keys].filter((key) => !replacements.includes(key) && !key.startsWith(`${head.epoch} `));
  assert.deepEqual(foreign, [], `of another epoch than ${head.epoch}`);
}

/** Whatever the processes have left lying about is gone when another one has compacted everything. */
async function assertTidy(scene: Scene): Promise<void> {
  const { store, document } = scene;
  for (const node of ["last", "very-last"]) {
    await write(scene, node);
    await compact(depsOf(scene, {}), document);
    await assertWhole(scene);
  }
  const { head } = await readHead(store, document);
  for (let epoch = 1; epoch <= head.epoch; epoch += 1) {
    assert.deepEqual(await store.listRows(document, epoch), [], `rows of epoch ${epoch}`);
  }
  const stored = (await store.listParts(document)).map(({ id }) => id);
  assert.deepEqual(
    stored,
    head.parts.map(({ id }) => id),
    "the parts that the head names and no others",
  );
}
