import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Failure } from "@scriptorium/shared";
import {
  MongoBulkWriteError,
  MongoInvalidArgumentError,
  MongoNetworkError,
  MongoServerClosedError,
  MongoServerError,
  type BulkWriteResult,
} from "mongodb";
import { createGate } from "../../src/storage/adapters/mongo/gate.ts";

const LIMITS = { queuedOperations: 3, queuedBytes: 100, operationMs: 60_000 };

const code = (wanted: string) => (error: unknown) => error instanceof Failure && error.code === wanted;

describe("the way to MongoDB", () => {
  it("refuses what is too much, in operations and in bytes, and takes more when there is room again", async () => {
    const gate = createGate(LIMITS);
    const held = Promise.withResolvers<string>();
    const running = [1, 2, 3].map(() => gate.run(() => held.promise));
    await assert.rejects(
      gate.run(async () => "one more"),
      code("overloaded"),
    );
    held.resolve("done");
    assert.deepEqual(await Promise.all(running), ["done", "done", "done"]);
    assert.equal(await gate.run(async () => "room"), "room");

    const large = Promise.withResolvers<string>();
    const first = gate.run(() => large.promise, { writes: 90 });
    assert.deepEqual([gate.stats().queuedWrites, gate.stats().queuedBytes], [1, 90]);
    await assert.rejects(
      gate.run(async () => "one more", { writes: 11 }),
      code("overloaded"),
    );
    large.resolve("done");
    await first;
    await gate.run(async () => "room", { writes: 11 });
    assert.deepEqual(gate.stats(), {
      commits: 2,
      writes: 2,
      storedBytes: 101,
      queuedWrites: 0,
      queuedBytes: 0,
    });
  });

  it("gives up an operation that takes too long, and counts it until it really ends", async () => {
    const gate = createGate({ ...LIMITS, operationMs: 20 });
    const stuck = Promise.withResolvers<void>();
    await assert.rejects(
      gate.run(() => stuck.promise, { writes: 5 }),
      code("try_later"),
    );
    assert.equal(gate.stats().queuedBytes, 5);
    const closed = gate.close();
    await assert.rejects(
      gate.run(async () => "late"),
      code("restarting"),
    );
    stuck.reject(new MongoNetworkError("gone"));
    await closed;
    assert.deepEqual(gate.stats(), {
      commits: 0,
      writes: 1,
      storedBytes: 0,
      queuedWrites: 0,
      queuedBytes: 0,
    });
  });

  it("calls what the server or the network does try_later, and what we do wrong a bug", async () => {
    const gate = createGate(LIMITS);
    const failing = (error: Error) =>
      gate.run(async () => {
        throw error;
      });
    await assert.rejects(failing(new MongoNetworkError("reset")), code("try_later"));
    await assert.rejects(
      failing(new MongoServerError({ message: "not primary", code: 10_107 })),
      code("try_later"),
    );
    // Not errors of the driver: it passes on what a socket says that breaks during a write.
    for (const broken of [
      "EPIPE",
      "ECONNRESET",
      "ETIMEDOUT",
      "ERR_STREAM_DESTROYED",
      "ERR_SSL_BAD_RECORD_TYPE",
    ])
      await assert.rejects(failing(Object.assign(new Error("broken"), { code: broken })), code("try_later"));
    // Filed under misuse by the driver, and the server's doing: it has left the replica set.
    await assert.rejects(failing(new MongoServerClosedError()), code("try_later"));
    const bad = new MongoServerError({ message: "bad value", code: 2 });
    await assert.rejects(failing(bad), (error) => !(error instanceof Failure) && error instanceof Error);
    const misuse = new MongoInvalidArgumentError("no such option");
    await assert.rejects(failing(misuse), (error) => error === misuse);
    const own = new RangeError("ours");
    await assert.rejects(failing(own), (error) => error === own);
    const invalid = Object.assign(new TypeError("ours, too"), { code: "ERR_INVALID_ARG_TYPE" });
    await assert.rejects(failing(invalid), (error) => error === invalid);
    const refused = new Failure("try_later", "said by the operation itself");
    await assert.rejects(failing(refused), (error) => error === refused);
  });

  it("sees through what the driver wraps around the end of a batch", async () => {
    const gate = createGate(LIMITS);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- made by the driver alone, and not looked at here
    const nothing = {} as BulkWriteResult;
    const batch = (thrown: Error) =>
      gate.run(async () => {
        throw new MongoBulkWriteError(thrown, nothing);
      });
    await assert.rejects(batch(new MongoNetworkError("reset")), code("try_later"));
    await assert.rejects(
      batch(new MongoServerError({ message: "stepped down", code: 189 })),
      code("try_later"),
    );
    const misuse = new MongoInvalidArgumentError("no such option");
    await assert.rejects(batch(misuse), (error) => error === misuse);
    const own = new RangeError("ours");
    await assert.rejects(batch(own), (error) => error === own);
  });
});
