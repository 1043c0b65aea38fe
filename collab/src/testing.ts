export { memoryDocumentStore } from "./testing/memory-document-store.ts";
