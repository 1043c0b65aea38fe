export { documentStoreContract } from "./testing/document-store-contract.ts";
export { memoryDocumentStore } from "./testing/memory-document-store.ts";
