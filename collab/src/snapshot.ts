import { Failure, newId } from "@scriptorium/shared";
import { z } from "zod";
import type { Compactor, DocumentStore, Log, RowId, UpdateRow } from "./ports.ts";
import type { CollabLimits } from "./limits.ts";

/**
 * Snapshots of a document: a base and deltas on top of it, named by the head entry of the document's stream. Rules
 * SN1-SN9 in SPEC.md. The order of reads and writes is what makes it safe, without locks, transactions or clocks:
 *
 * - a reader reads rows first and the head second: a row that it misses was deleted, so it is inside a part that the
 *   head, read later, names; a row that it sees twice is idempotent. A part that it misses was replaced by a newer head;
 * - a writer puts the part, then wins the head by an append, and only then deletes exactly the rows that it had read;
 * - a part's id begins with the one position of the head stream at which it can be named for the first time, and a
 *   position is taken once and for ever. So a part that the head does not name, whose position the head has reached, is
 *   dead: no head will ever name it. Nothing but dead parts is removed, and nobody needs to know how old they are.
 *
 * Why no committed row can be lost. Whoever deletes a row has won a position with a head whose part P holds it. Every
 * later head of the epoch names P, or a part that was merged from P by who won the position right after the head that
 * named P; so from that position on every head holds the row. P is removed by who has read a head that lacks it, hence
 * after that.
 *
 * Why this stands when a process is stopped anywhere, for any time, and goes on. All that decides is that a position
 * was taken, that a head lacks a part, that an epoch has ended: what was true when it was read stays true. So each of its
 * writes is as harmless as it was before: a part that is put late is dead, and is swept; a position that somebody else
 * has taken meanwhile is refused; rows go by exact id, and are in a part; a dead part stays dead, and its id is never
 * used again; what is purged belongs to an epoch that has ended. And a crash instead leaves a part that the next sweep
 * after its position is reached removes, or rows that are in a part too.
 */

/** The entry of a head stream. Checked when read: a damaged head is an error, never an empty document. */
const Head = z.object({
  epoch: z.number().int().positive(),
  /** The base first, then deltas by falling level, oldest first. Empty: everything is in rows. */
  parts: z.array(z.object({ id: z.string(), bytes: z.number(), level: z.number().default(0) })).readonly(),
  /** Yjs client ids of replaced lineages: a client that knows one of them must start over. */
  retired: z.array(z.number()).readonly(),
  deleted: z.boolean(),
});
type Head = Readonly<z.infer<typeof Head>>;

const FIRST: Head = { epoch: 1, parts: [], retired: [], deleted: false };

export interface StoredDocument {
  readonly head: Head;
  /** Position of the head entry in its stream; 0 when there is none yet. */
  readonly at: number;
  readonly parts: readonly Uint8Array[];
  readonly rows: readonly UpdateRow[];
}

/** How often the head may move under a reader or a writer before it gives up. */
const HEAD_ATTEMPTS = 5;

export function headStream(document: string): string {
  return `head:${document}`;
}

export async function readHead(store: DocumentStore, document: string): Promise<{ head: Head; at: number }> {
  const found = await store.heads.head(headStream(document));
  return found === undefined ? { head: FIRST, at: 0 } : { head: Head.parse(found.entry), at: found.at };
}

/** Everything that is stored of a document, consistent as described above. */
export async function loadDocument(store: DocumentStore, document: string): Promise<StoredDocument> {
  for (let attempt = 0; attempt < HEAD_ATTEMPTS; attempt += 1) {
    // The epoch must be known to read rows; a replacement between the two reads shows as another epoch below.
    const before = await readHead(store, document);
    const rows = await store.readRows(document, before.head.epoch);
    const { head, at } = await readHead(store, document);
    if (head.epoch !== before.head.epoch) continue;
    const parts = await readParts(store, document, head.parts);
    if (parts !== undefined) return { head, at, parts, rows };
  }
  throw new Failure("try_later", `the head of ${document} kept moving while it was loaded`);
}

/** Undefined when a part is gone: a newer head has replaced it since. */
export async function readParts(
  store: DocumentStore,
  document: string,
  named: readonly Part[],
): Promise<Uint8Array[] | undefined> {
  const parts: Uint8Array[] = [];
  for (const ref of named) {
    const body = await store.getPart(document, ref.id);
    if (body === undefined) return undefined;
    parts.push(body);
  }
  return parts;
}

/** `at` is the position of the head that is going to name it. The clock only makes the id easier to read. */
function newPartId(at: number, nowMs: number): string {
  return `${at}-${newId(nowMs)}`;
}

/** Whether neither this head nor any later one names the part. */
function isDead(id: string, { head, at }: Published): boolean {
  // Parts of before ids had positions were named at once.
  const position = Number(/^(\d+)-/.exec(id)?.[1] ?? 0);
  return position <= at && !head.parts.some((part) => part.id === id);
}

export interface CompactionDeps {
  readonly store: DocumentStore;
  readonly compactor: Compactor;
  readonly limits: CollabLimits;
  readonly now: () => number;
  readonly log: Log;
}

export interface CompactionResult {
  /** `lost`: another node won the head. `idle`: there was nothing to do. */
  readonly outcome: "delta" | "base" | "lost" | "idle";
  readonly rows: number;
  readonly partBytes: number;
}

const IDLE: CompactionResult = { outcome: "idle", rows: 0, partBytes: 0 };

type Part = Head["parts"][number];

/** What the next part replaces, and what stays before it. */
interface Plan {
  readonly kind: "base" | "delta";
  readonly level: number;
  readonly kept: readonly Part[];
  readonly absorbed: readonly Part[];
}

/**
 * A new base only when the deltas have grown to a share of the old one. Else a delta, which carries like a counter: once
 * there are `deltas` of a level they become one of the level above, so a byte is written again once per level, and the
 * number of parts grows with the logarithm of what was typed.
 */
function planOf(head: Head, limits: CollabLimits): Plan {
  const [base, ...deltas] = head.parts;
  const size = deltas.reduce((sum, delta) => sum + delta.bytes, 0);
  if (base === undefined || size > base.bytes * limits.deltaRatio)
    return { kind: "base", level: 0, kept: [], absorbed: head.parts };
  let level = 0;
  let end = deltas.length;
  for (;;) {
    const start = deltas.findIndex((delta, i) => i < end && delta.level <= level);
    if (start < 0 || end - start < limits.deltas - 1) break;
    end = start;
    level += 1;
  }
  return { kind: "delta", level, kept: [base, ...deltas.slice(0, end)], absorbed: deltas.slice(end) };
}

/**
 * Moves the committed rows of a document into a part. Never reads the live document: what it publishes is what the store
 * had committed. What is written depends on what was typed, not on the size of the document (rule SN4).
 */
export async function compact(deps: CompactionDeps, document: string): Promise<CompactionResult> {
  const { store, compactor, limits } = deps;
  const before = await readHead(store, document);
  const rows = await store.readRows(document, before.head.epoch);
  const { head, at } = await readHead(store, document);
  if (rows.length === 0 || head.deleted || head.epoch !== before.head.epoch) return IDLE;
  const { kind, level, kept, absorbed } = planOf(head, limits);
  const old = await readParts(store, document, absorbed);
  if (old === undefined) return IDLE;
  const updates = rows.map((row) => row.update);
  const body = await compactor.merge({ kind, parts: old, updates });
  const id = newPartId(at + 1, deps.now());
  await store.putPart({ id, document, body });
  const parts = [...kept, { id, bytes: body.length, level }];
  const next = { head: { ...head, parts }, at: at + 1 };
  if (!(await publish(store, document, { ...next, op: id }))) {
    await withdraw(store, document, id);
    return { outcome: "lost", rows: 0, partBytes: body.length };
  }
  await store.removeRows(rows.map(rowId));
  if (absorbed.length > 0) await sweep(store, document, next);
  return { outcome: kind, rows: rows.length, partBytes: body.length };
}

interface Published {
  readonly head: Head;
  readonly at: number;
}

interface Publication extends Published {
  readonly op: string;
}

/** Whether the position was won; on an error nobody knows. */
async function publish(store: DocumentStore, document: string, next: Publication): Promise<boolean> {
  const stream = headStream(document);
  const outcome = await store.heads.append(stream, {
    at: next.at,
    entry: { ...next.head },
    op: next.op,
  });
  if (outcome === "taken") return false;
  await store.heads.trim(stream, next.at);
  return true;
}

/** Takes back a part whose position somebody else has taken. */
async function withdraw(store: DocumentStore, document: string, id: string): Promise<void> {
  if (isDead(id, await readHead(store, document))) await store.removeParts(document, [id]);
}

function rowId(row: UpdateRow): RowId {
  return { document: row.document, epoch: row.epoch, node: row.node, seq: row.seq };
}

/**
 * Removes what a head has made useless: parts, and rows of epochs before, which a node that had not heard of the
 * replacement yet may have appended after them. A head that is not the newest any more serves as well.
 */
async function sweep(store: DocumentStore, document: string, published: Published): Promise<void> {
  const { epoch } = published.head;
  if (epoch > FIRST.epoch) await store.purgeRows(document, epoch - 1);
  const stored = await store.listParts(document);
  const dead = stored.map(({ id }) => id).filter((id) => isDead(id, published));
  if (dead.length > 0) await store.removeParts(document, dead);
}

export interface Replacement {
  /** V1 update that becomes the whole content; undefined deletes the document for good. */
  readonly update: Uint8Array | undefined;
  /** Client ids of the lineage that ends. */
  readonly retired: readonly number[];
}

/**
 * Opens a new epoch that holds the replacement alone. Resolves when durable; the old epoch's rows and parts are gone.
 * Throws Failure `document_deleted` when there is nothing left to replace, `try_later` when the head keeps moving.
 */
export async function replaceDocument(
  deps: CompactionDeps,
  document: string,
  replacement: Replacement,
): Promise<Head> {
  const { store, compactor } = deps;
  const { update } = replacement;
  const body =
    update === undefined ? undefined : await compactor.merge({ kind: "base", parts: [], updates: [update] });
  for (let attempt = 0; attempt < HEAD_ATTEMPTS; attempt += 1) {
    const current = await readHead(store, document);
    const { head, at } = current;
    if (head.deleted) {
      if (body !== undefined) throw new Failure("document_deleted");
      // By somebody who may have died before the rest was gone.
      await sweep(store, document, current);
      return head;
    }
    const id = newPartId(at + 1, deps.now());
    if (body !== undefined) await store.putPart({ id, document, body });
    const next: Head = {
      epoch: head.epoch + 1,
      parts: body === undefined ? [] : [{ id, bytes: body.length, level: 0 }],
      retired: [...new Set([...head.retired, ...replacement.retired])],
      deleted: update === undefined,
    };
    if (await publish(store, document, { head: next, at: at + 1, op: id })) {
      await sweep(store, document, { head: next, at: at + 1 });
      return next;
    }
    if (body !== undefined) await withdraw(store, document, id);
  }
  throw new Failure("try_later", `the head of ${document} kept moving while it was replaced`);
}

/**
 * Adds client ids to those whose lineage has ended, so that their clients are told to start over when they return: what
 * was written on another node at the time of a replacement was not known to it.
 */
export async function retireClients(
  store: DocumentStore,
  document: string,
  clients: Iterable<number>,
): Promise<void> {
  const ended = [...clients];
  for (let attempt = 0; attempt < HEAD_ATTEMPTS; attempt += 1) {
    const { head, at } = await readHead(store, document);
    const retired = new Set([...head.retired, ...ended]);
    if (head.deleted || retired.size === head.retired.length) return;
    const next = { head: { ...head, retired: [...retired] }, at: at + 1, op: newId() };
    if (await publish(store, document, next)) return;
  }
  throw new Failure("try_later", `the head of ${document} kept moving while clients were retired`);
}
