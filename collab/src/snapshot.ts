import { Failure, newId } from "@scriptorium/shared";
import { z } from "zod";
import type { Compactor, DocumentStore, Log, RowId, UpdateRow } from "./ports.ts";
import type { CollabLimits } from "./limits.ts";

/**
 * Snapshots of a document: a base and deltas on top of it, named by the head entry of the document's stream. Rules
 * SN1-SN7 in SPEC.md. The order of reads and writes is what makes it safe without locks or transactions:
 *
 * - a reader reads rows first and the head second: a row that it misses was deleted, so it is inside a part that the
 *   head, read later, names; a row that it sees twice is idempotent;
 * - a writer puts the part, then wins the head by an append, and only then deletes exactly the rows that it had read.
 *
 * A crash between any two steps leaves an orphan part (swept by age) or rows that are in a part too (harmless).
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

const LOAD_ATTEMPTS = 5;

export function headStream(document: string): string {
  return `head:${document}`;
}

export async function readHead(store: DocumentStore, document: string): Promise<{ head: Head; at: number }> {
  const found = await store.heads.head(headStream(document));
  return found === undefined ? { head: FIRST, at: 0 } : { head: Head.parse(found.entry), at: found.at };
}

/** Everything that is stored of a document, consistent as described above. */
export async function loadDocument(store: DocumentStore, document: string): Promise<StoredDocument> {
  for (let attempt = 0; attempt < LOAD_ATTEMPTS; attempt += 1) {
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
  const id = newId(deps.now());
  await store.putPart({ id, document, body });
  const parts = [...kept, { id, bytes: body.length, level }];
  if (!(await publish(store, document, { head: { ...head, parts }, at: at + 1, op: id }))) {
    await store.removeParts(document, [id]);
    return { outcome: "lost", rows: 0, partBytes: body.length };
  }
  await store.removeRows(rows.map(rowId));
  if (absorbed.length > 0) {
    await store.removeParts(
      document,
      absorbed.map((part) => part.id),
    );
    await sweepOrphans(deps, document);
  }
  return { outcome: kind, rows: rows.length, partBytes: body.length };
}

interface Publication {
  readonly head: Head;
  readonly at: number;
  readonly op: string;
}

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

function rowId(row: UpdateRow): RowId {
  return { document: row.document, epoch: row.epoch, node: row.node, seq: row.seq };
}

/** Removes parts that no head names and that are older than any compaction could take. */
async function sweepOrphans(deps: CompactionDeps, document: string): Promise<void> {
  const stored = await deps.store.listParts(document);
  const { head } = await readHead(deps.store, document);
  const named = new Set(head.parts.map((part) => part.id));
  const orphans = stored.filter((part) => !named.has(part.id) && part.at < deps.now() - deps.limits.orphanMs);
  if (orphans.length === 0) return;
  deps.log.warn({ document, parts: orphans.length }, "sweeping parts that no head names");
  await deps.store.removeParts(
    document,
    orphans.map((part) => part.id),
  );
}

export interface Replacement {
  /** V1 update that becomes the whole content; undefined deletes the document for good. */
  readonly update: Uint8Array | undefined;
  /** Client ids of the lineage that ends. */
  readonly retired: Iterable<number>;
}

/** Opens a new epoch that holds the replacement alone. Resolves when durable; the old epoch's rows and parts are gone. */
export async function replaceDocument(
  deps: CompactionDeps,
  document: string,
  replacement: Replacement,
): Promise<Head> {
  const { store, compactor } = deps;
  const id = newId(deps.now());
  const { update } = replacement;
  const body =
    update === undefined ? undefined : await compactor.merge({ kind: "base", parts: [], updates: [update] });
  for (;;) {
    const { head, at } = await readHead(store, document);
    const epoch = head.epoch + 1;
    if (body !== undefined) await store.putPart({ id, document, body });
    const next: Head = {
      epoch,
      parts: body === undefined ? [] : [{ id, bytes: body.length, level: 0 }],
      retired: [...new Set([...head.retired, ...replacement.retired])],
      deleted: update === undefined,
    };
    if (await publish(store, document, { head: next, at: at + 1, op: id })) {
      await store.purgeRows(document, head.epoch);
      await store.removeParts(
        document,
        head.parts.map((part) => part.id),
      );
      return next;
    }
  }
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
  for (let attempt = 0; attempt < LOAD_ATTEMPTS; attempt += 1) {
    const { head, at } = await readHead(store, document);
    const retired = new Set([...head.retired, ...ended]);
    if (head.deleted || retired.size === head.retired.length) return;
    const next = { head: { ...head, retired: [...retired] }, at: at + 1, op: newId() };
    if (await publish(store, document, next)) return;
  }
  throw new Failure("try_later", `the head of ${document} kept moving while clients were retired`);
}
