import { after, it } from "node:test";
import { compactionContract } from "@scriptorium/collab/testing";
import { openMongo } from "../../src/storage/adapters/mongo/open.ts";
import { NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { openTemporaryMongo } from "./temporary-mongo.ts";
import { SILENT } from "./temporary-store.ts";

const HOUR_MS = 3_600_000;

if (NO_MONGO === false) {
  after(stopSharedMongo);

  compactionContract(
    "MongoDB",
    async () => {
      const { store, url, close } = await openTemporaryMongo();
      const others = await Promise.all(
        [-2, 2].map((hours) => openMongo({ url, log: SILENT, now: () => Date.now() + hours * HOUR_MS })),
      );
      return {
        subject: store.documents,
        others: others.map(({ documents }) => documents),
        async close() {
          await Promise.all(others.map((other) => other.close()));
          await close();
        },
      };
    },
    { races: 8 },
  );
} else {
  it("loses nothing when a compaction on MongoDB is cut short", { skip: NO_MONGO }, () => undefined);
}
