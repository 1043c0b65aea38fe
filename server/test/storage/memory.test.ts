import { documentStoreContract } from "@scriptorium/collab/testing";
import { streamsContract } from "@scriptorium/shared/testing";
import { openMemory } from "../../src/storage/adapters/memory/open.ts";
import { collectionContract } from "../../src/storage/testing/collection-contract.ts";

streamsContract("memory", async () => {
  const store = await openMemory();
  return { subject: store.streams, close: () => store.close() };
});

documentStoreContract("memory", async () => {
  const store = await openMemory();
  return { subject: store.documents, close: () => store.close() };
});

collectionContract("memory", async () => {
  const store = await openMemory();
  return { subject: store.open, close: () => store.close() };
});
