import { after, it } from "node:test";
import { documentStoreContract } from "@scriptorium/collab/testing";
import { streamsContract } from "@scriptorium/shared/testing";
import { collectionContract } from "../../src/storage/testing/collection-contract.ts";
import { NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { openTemporaryMongo } from "./temporary-mongo.ts";

if (NO_MONGO === false) {
  after(stopSharedMongo);

  streamsContract("MongoDB", async () => {
    const { store, close } = await openTemporaryMongo();
    return { subject: store.streams, close };
  });

  documentStoreContract("MongoDB", async () => {
    const { store, close } = await openTemporaryMongo();
    return { subject: store.documents, close };
  });

  collectionContract("MongoDB", async () => {
    const { store, close } = await openTemporaryMongo();
    return { subject: store.open, close };
  });
} else {
  it("keeps the contracts of every storage port on MongoDB", { skip: NO_MONGO }, () => undefined);
}
