import { after, it } from "node:test";
import { openMemoryArchive } from "../../src/storage/adapters/memory/archive.ts";
import { openMongoArchive } from "../../src/storage/adapters/mongo/archive.ts";
import { openSqliteArchive } from "../../src/storage/adapters/sqlite/archive.ts";
import { archiveContract } from "../../src/storage/testing/archive-contract.ts";
import { NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { openTemporaryMongo } from "./temporary-mongo.ts";
import { openTemporary } from "./temporary-store.ts";

archiveContract("memory", async () => {
  const subject = await openMemoryArchive();
  return { subject, close: () => subject.close() };
});

archiveContract("SQLite", async () => {
  const { dir, store, close } = await openTemporary();
  const archive = openSqliteArchive(dir, store);
  const closeBoth = async (): Promise<void> => {
    archive.close();
    await close();
  };
  return { subject: { store, archive, close: closeBoth }, close: closeBoth };
});

if (NO_MONGO === false) {
  after(stopSharedMongo);

  archiveContract("MongoDB", async () => {
    const { store, url, close } = await openTemporaryMongo();
    const { archive, close: closeArchive } = await openMongoArchive({ url, store });
    const closeBoth = async (): Promise<void> => {
      await closeArchive();
      await close();
    };
    return { subject: { store, archive, close: closeBoth }, close: closeBoth };
  });
} else {
  it("keeps the contract of an archive on MongoDB", { skip: NO_MONGO }, () => undefined);
}
