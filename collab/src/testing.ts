export { compactionContract } from "./testing/compaction-contract.ts";
export { documentStoreContract } from "./testing/document-store-contract.ts";
export { faultyStore } from "./testing/faulty-store.ts";
export { eachOperation } from "./testing/each-operation.ts";
export type { StoreOperation } from "./testing/each-operation.ts";
export type { FaultyStore, StoreFault } from "./testing/faulty-store.ts";
export { memoryDocumentStore } from "./testing/memory-document-store.ts";
