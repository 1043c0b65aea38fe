import { randomInt } from "node:crypto";
import { newId } from "@scriptorium/shared";
import * as Y from "yjs";
import { applyStored } from "./part.ts";
import type { Compactor, StoredPart } from "./ports.ts";
import type { StoredDocument } from "./snapshot.ts";

/**
 * Client ids of a lineage that was begun by a restore. Yjs gives its clients ids of 32 bits, so these are nobody's; and up
 * to 35 bits they take no more bytes than most of those.
 */
const FIRST_CLIENT = 2 ** 32;
const LAST_CLIENT = 2 ** 35;
/** Room for the clients of one document above where they begin. */
const CLIENTS = 2 ** 24;

export interface NewLineage {
  readonly head: StoredDocument["head"];
  /** What the head names; undefined where there is no content. */
  readonly part: StoredPart | undefined;
  /** Something waited for an update that never came. Only the old lineage could bring it, so it is left out. */
  readonly parked: boolean;
}

export interface LineageOptions {
  readonly document: string;
  /** Unlike any that the old lineage has had or may have got since. */
  readonly epoch: number;
  readonly compactor: Pick<Compactor, "merge">;
}

/**
 * The same content under client ids of its own. What a browser still has of the old lineage names ids that this one
 * lacks and has retired, so it is told to start over whatever its copy is: older than the backup, newer, or the same but
 * for deletions, which a state vector does not show. Ids are changed and content is not made anew, so that everything
 * stays as it is: attributes, nested types, what was deleted, the order of what was typed at one place at one time.
 */
export async function beginLineage(stored: StoredDocument, options: LineageOptions): Promise<NewLineage> {
  const { document, epoch, compactor } = options;
  const { head, parts, rows } = stored;
  const doc = new Y.Doc();
  applyStored(doc, { parts, updates: rows.map((row) => row.update) }, undefined);
  const parked = doc.store.pendingStructs !== null || doc.store.pendingDs !== null;
  const retired = [...new Set([...head.retired, ...clientsOf(doc)])];
  doc.store.pendingStructs = null;
  doc.store.pendingDs = null;
  rename(doc);
  const update = Y.encodeStateAsUpdate(doc);
  const empty = doc.store.clients.size === 0;
  doc.destroy();
  const next = { epoch, retired, deleted: head.deleted };
  if (empty) return { head: { ...next, parts: [] }, part: undefined, parked };
  const body = await compactor.merge({ kind: "base", parts: [], updates: [update] });
  const id = newId();
  return {
    head: { ...next, parts: [{ id, bytes: body.length, level: 0 }] },
    part: { id, document, body },
    parked,
  };
}

/** Also those of whom something is parked, or waited for. */
function clientsOf({ store }: Y.Doc): number[] {
  const { pendingStructs: waiting } = store;
  if (waiting === null) return [...store.clients.keys()];
  const parked = Y.parseUpdateMeta(waiting.update).to.keys();
  return [...store.clients.keys(), ...parked, ...waiting.missing.keys()];
}

/**
 * Gives every client another id. In the order of the old ones: it decides which of two insertions at one place comes
 * first, and must decide the same for replicas that are yet to integrate them.
 */
function rename({ store }: Y.Doc): void {
  const first = randomInt(FIRST_CLIENT, LAST_CLIENT - CLIENTS);
  const old = [...store.clients.keys()].toSorted((a, b) => a - b);
  const names = new Map(old.map((client, place) => [client, first + place]));
  const named = (id: Y.ID): Y.ID => {
    const client = names.get(id.client);
    if (client === undefined) throw new Error(`the document refers to client ${id.client}, whom it lacks`);
    return Y.createID(client, id.clock);
  };
  const clients = [...store.clients];
  store.clients.clear();
  for (const [client, structs] of clients) {
    for (const struct of structs) {
      struct.id = named(struct.id);
      if (!(struct instanceof Y.Item)) continue;
      if (struct.origin !== null) struct.origin = named(struct.origin);
      if (struct.rightOrigin !== null) struct.rightOrigin = named(struct.rightOrigin);
    }
    store.clients.set(named(Y.createID(client, 0)).client, structs);
  }
}
