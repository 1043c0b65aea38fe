import { compactionContract, documentStoreContract } from "@scriptorium/collab/testing";
import { streamsContract } from "@scriptorium/shared/testing";
import { collectionContract } from "../../src/storage/testing/collection-contract.ts";
import { openTemporary } from "./temporary-store.ts";

streamsContract("SQLite", async () => {
  const { store, close } = await openTemporary();
  return { subject: store.streams, close };
});

documentStoreContract("SQLite", async () => {
  const { store, close } = await openTemporary();
  return { subject: store.documents, close };
});

collectionContract("SQLite", async () => {
  const { store, close } = await openTemporary();
  return { subject: store.open, close };
});

compactionContract("SQLite", async () => {
  const { store, close } = await openTemporary();
  return { subject: store.documents, close };
});
