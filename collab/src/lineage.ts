import { Failure, type FailureCode } from "@scriptorium/shared";
import * as Y from "yjs";
import type { Lobby } from "./lobby.ts";
import { applyStored } from "./part.ts";
import type { DocumentStore } from "./ports.ts";
import type { Room } from "./room.ts";
import type { Serial } from "./serial.ts";
import { loadDocument, replaceDocument, type CompactionDeps } from "./snapshot.ts";
import type { UpdateLog } from "./update-log.ts";

export interface LineageDeps {
  readonly store: DocumentStore;
  readonly lobby: Lobby;
  readonly log: UpdateLog;
  readonly serial: Serial;
  readonly compaction: CompactionDeps;
}

/** A document as a whole: read it, replace it by another lineage, remove it. */
export interface Lineage {
  read(document: string): Promise<Uint8Array>;
  remove(document: string): Promise<void>;
  replace(document: string, update: Uint8Array): Promise<void>;
}

export function createLineage({ store, lobby, log, serial, compaction }: LineageDeps): Lineage {
  /** What the store has of a document, as one V1 update. */
  async function stored(document: string): Promise<{ state: Uint8Array; deleted: boolean }> {
    const found = await loadDocument(store, document);
    const doc = new Y.Doc();
    applyStored(doc, { parts: found.parts, updates: found.rows.map((row) => row.update) }, undefined);
    const state = Y.encodeStateAsUpdate(doc);
    doc.destroy();
    return { state, deleted: found.head.deleted };
  }

  /** Nobody may join or write the live document any more; its clients are told, its rows are gone. */
  async function end(document: string, update: Uint8Array | undefined, code: FailureCode): Promise<void> {
    await serial(document, async () => {
      const room = live(document);
      if (room !== undefined) {
        room.settle();
        room.ended = true;
      }
      // Also for a room that failed and is gone: its last rows must not come after its lineage.
      await log.flushed();
      const state = room?.fullState() ?? (await stored(document)).state;
      const retired = Y.decodeStateVector(Y.encodeStateVectorFromUpdate(state)).keys();
      try {
        await replaceDocument(compaction, document, { update, retired });
      } catch (error) {
        // Whether it was replaced cannot be told now; whoever comes back is served what the store has.
        if (room !== undefined) evict(room, "try_later");
        throw error;
      }
      if (room !== undefined) evict(room, code);
    });
  }

  /** An ended room stays for as long as its last socket takes to close; it no longer speaks for the document. */
  function live(document: string): Room | undefined {
    const room = lobby.rooms.get(document);
    return room?.ended === true ? undefined : room;
  }

  function evict(room: Room, code: FailureCode): void {
    for (const member of room.members) {
      if (code === "document_replaced") member.reset();
      else member.link.refuse(code, "");
    }
    lobby.unloadIfIdle(room);
  }

  return {
    async read(document) {
      const room = live(document);
      if (room !== undefined) return room.fullState();
      const { state, deleted } = await stored(document);
      if (deleted) throw new Failure("document_deleted");
      return state;
    },
    remove: (document) => end(document, undefined, "document_deleted"),
    replace: (document, update) => end(document, update, "document_replaced"),
  };
}
