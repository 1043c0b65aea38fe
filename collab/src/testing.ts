export { compactionContract } from "./testing/compaction-contract.ts";
export { documentStoreContract } from "./testing/document-store-contract.ts";
export { faultyStore } from "./testing/faulty-store.ts";
export type { FaultyStore, StoreFault, StoreOperation } from "./testing/faulty-store.ts";
export { memoryDocumentStore } from "./testing/memory-document-store.ts";
