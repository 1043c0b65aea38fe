import { Failure, type FailureCode } from "@scriptorium/shared";
import { setTimeout as delay } from "node:timers/promises";
import * as Y from "yjs";
import type { Cluster } from "./cluster/cluster.ts";
import type { Lobby } from "./lobby.ts";
import { applyStored } from "./part.ts";
import type { DocumentStore } from "./ports.ts";
import type { Room } from "./room.ts";
import type { Serial } from "./serial.ts";
import { loadDocument, readHead, replaceDocument, retireClients, type CompactionDeps } from "./snapshot.ts";
import type { UpdateLog } from "./update-log.ts";

export interface LineageDeps {
  readonly store: DocumentStore;
  readonly lobby: Lobby;
  readonly log: UpdateLog;
  readonly serial: Serial;
  readonly compaction: CompactionDeps;
  readonly cluster: Pick<Cluster, "complete"> | undefined;
}

/** Attempts to remove what was accepted after an end, and the pause between them. Left over, nobody ever reads it. */
const BURIALS = 300;
const BURIAL_PAUSE_MS = 2_000;

/** A document as a whole: read it, replace it by another lineage, remove it. */
export class Lineage {
  readonly #deps: LineageDeps;

  constructor(deps: LineageDeps) {
    this.#deps = deps;
  }

  async read(document: string): Promise<Uint8Array> {
    const room = this.#live(document);
    if (room !== undefined) {
      await this.#deps.cluster?.complete(room);
      return room.fullState();
    }
    const { state, deleted } = await this.#stored(document);
    if (deleted) throw new Failure("document_deleted");
    return state;
  }

  remove(document: string): Promise<void> {
    return this.#end(document, undefined, "document_deleted");
  }

  replace(document: string, update: Uint8Array): Promise<void> {
    return this.#end(document, update, "document_replaced");
  }

  /**
   * Sends the clients of a live document away if another node has replaced or removed it, and removes what this node has
   * accepted since, which is nobody's any more. Never rejects.
   */
  async recheck(document: string): Promise<void> {
    const room = this.#live(document);
    if (room === undefined) return;
    let code: FailureCode = "try_later";
    try {
      const { head } = await readHead(this.#deps.store, document);
      if (this.#live(document) !== room || (!head.deleted && head.epoch === room.epoch)) return;
      code = head.deleted ? "document_deleted" : "document_replaced";
    } catch (error) {
      // Whoever comes back is served what the store has: this room may speak for a lineage that is over.
      this.#deps.compaction.log.error({ err: error, document }, "cannot tell whether a document has ended");
    }
    room.settle();
    room.ended = true;
    const own = [...Y.decodeStateVector(Y.encodeStateVector(room.document)).keys()];
    this.#evict(room, code);
    const buried = this.#bury(room, own);
    if (code !== "try_later") await buried;
  }

  /** An ended room stays for as long as its last socket takes to close; it no longer speaks for the document. */
  #live(document: string): Room | undefined {
    const room = this.#deps.lobby.rooms.get(document);
    return room?.ended === true ? undefined : room;
  }

  /** What the store has of a document, as one V1 update. */
  async #stored(document: string): Promise<{ state: Uint8Array; deleted: boolean }> {
    const found = await loadDocument(this.#deps.store, document);
    const doc = new Y.Doc();
    applyStored(doc, { parts: found.parts, updates: found.rows.map((row) => row.update) }, undefined);
    const state = Y.encodeStateAsUpdate(doc);
    doc.destroy();
    return { state, deleted: found.head.deleted };
  }

  /** Nobody may join or write the live document any more; its clients are told, its rows are gone. */
  async #end(document: string, update: Uint8Array | undefined, code: FailureCode): Promise<void> {
    const { serial, log, cluster, compaction } = this.#deps;
    await serial(document, async () => {
      const room = this.#live(document);
      if (room !== undefined) {
        // Whose lineage ends is to be known, whichever node they wrote on.
        await cluster?.complete(room);
        room.settle();
        room.ended = true;
      }
      // Also for a room that failed and is gone: its last rows must not come after its lineage.
      await log.flushed();
      const state = room?.fullState() ?? (await this.#stored(document)).state;
      const retired = [...Y.decodeStateVector(Y.encodeStateVectorFromUpdate(state)).keys()];
      try {
        await replaceDocument(compaction, document, { update, retired });
      } catch (error) {
        // Whether it was replaced cannot be told now; whoever comes back is served what the store has.
        if (room !== undefined) this.#evict(room, "try_later");
        throw error;
      }
      if (room !== undefined) this.#evict(room, code);
    });
  }

  /** Removes the rows of a room whose lineage has ended, if it has. What the store does not let it do goes on for itself. */
  async #bury(room: Room, own: readonly number[]): Promise<void> {
    const { log } = this.#deps;
    // Its last rows must not come after it.
    await new Promise<void>((resolve) => log.whenCommitted(room.lastPosition, { committed: resolve }));
    if (!(await this.#isBuried(room, own))) void this.#buryLater(room, own);
  }

  async #buryLater(room: Room, own: readonly number[]): Promise<void> {
    for (let attempt = 0; attempt < BURIALS; attempt += 1) {
      await delay(BURIAL_PAUSE_MS, undefined, { ref: false });
      if (await this.#isBuried(room, own)) return;
    }
  }

  async #isBuried(room: Room, own: readonly number[]): Promise<boolean> {
    const { store, compaction } = this.#deps;
    const { name } = room.document;
    try {
      const { head } = await readHead(store, name);
      if (!head.deleted && head.epoch === room.epoch) return true;
      await retireClients(store, name, own);
      await store.purgeRows(name, room.epoch);
      return true;
    } catch (error) {
      compaction.log.warn({ err: error, document: name }, "what came after an end stays for now");
      return false;
    }
  }

  #evict(room: Room, code: FailureCode): void {
    for (const member of room.members) {
      if (code === "document_replaced") member.reset();
      else member.link.refuse(code, "");
    }
    this.#deps.lobby.unloadIfIdle(room);
  }
}
