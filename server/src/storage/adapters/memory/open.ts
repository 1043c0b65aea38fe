import { memoryDocumentStore } from "@scriptorium/collab/testing";
import { memoryStreams } from "@scriptorium/shared/testing";
import type { Store } from "../../store.ts";
import { memoryCollections } from "./collections.ts";

/** A store for tests: the same promises as the others, save that nothing outlives the process. */
export async function openMemory(): Promise<Store> {
  return {
    streams: memoryStreams(),
    documents: memoryDocumentStore(),
    open: memoryCollections(),
    stats: () => ({ commits: 0, writes: 0, storedBytes: 0, queuedWrites: 0, queuedBytes: 0 }),
    close: async () => undefined,
  };
}
