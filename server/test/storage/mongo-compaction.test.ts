import { after, it } from "node:test";
import { compactionContract } from "@scriptorium/collab/testing";
import { NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { openTemporaryMongo } from "./temporary-mongo.ts";

if (NO_MONGO === false) {
  after(stopSharedMongo);

  compactionContract("MongoDB", async () => {
    const { store, close } = await openTemporaryMongo();
    return { subject: store.documents, close };
  });
} else {
  it("loses nothing when a compaction on MongoDB is cut short", { skip: NO_MONGO }, () => undefined);
}
