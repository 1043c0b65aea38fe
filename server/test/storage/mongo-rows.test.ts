import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { UpdateRow } from "@scriptorium/collab";
import { newId } from "@scriptorium/shared";
import { MongoClient, type Binary, type Db } from "mongodb";
import { createGate } from "../../src/storage/adapters/mongo/gate.ts";
import { MONGO_LIMITS, openMongo } from "../../src/storage/adapters/mongo/open.ts";
import { mongoStreams, type EntryRow } from "../../src/storage/adapters/mongo/streams.ts";
import {
  mongoRows,
  PIECE_BYTES,
  WHOLE_BYTES,
  type LogRow,
  type RowPiece,
} from "../../src/storage/adapters/mongo/rows.ts";
import { CHUNK_BYTES } from "../../src/storage/adapters/mongo/parts.ts";
import type { Store } from "../../src/storage/store.ts";
import { NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { openTemporaryMongo } from "./temporary-mongo.ts";
import { SILENT } from "./temporary-store.ts";

function row(document: string, seq: number, bytes: number): UpdateRow {
  const update = new Uint8Array(bytes).map((_, i) => (i * 31 + seq) % 251);
  return { document, epoch: 1, node: "node", seq, at: 1_700_000_000_000, by: "ada", update };
}

/** Not deepEqual, which takes minutes for megabytes. */
function assertSame(found: readonly UpdateRow[], expected: readonly UpdateRow[]): void {
  const shape = ({ update, ...rest }: UpdateRow) => ({ ...rest, bytes: update.length });
  assert.deepEqual(found.map(shape), expected.map(shape));
  found.forEach(({ update }, i) => assert.equal(Buffer.compare(update, expected[i]?.update ?? update), 0));
}

/** What is on the server, and a second node: what the port does not show. */
describe("MongoDB beneath the ports", { skip: NO_MONGO }, () => {
  let store: Store;
  let other: Store;
  let client: MongoClient;
  let db: Db;
  let close: () => Promise<void>;
  before(async () => {
    const opened = await openTemporaryMongo();
    ({ store, close } = opened);
    other = await openMongo({ url: opened.url, log: SILENT });
    client = await new MongoClient(opened.url).connect();
    db = client.db();
  });
  after(async () => {
    await client.close();
    await other.close();
    await close();
    await stopSharedMongo();
  });
  const table = (name: string) => db.collection<{ _id: string; body?: Binary }>(name);

  it("keeps updates that are larger than a document of the server may be", async () => {
    const document = newId();
    const rows = [
      row(document, 1, 10),
      row(document, 2, 2 * WHOLE_BYTES + 5),
      row(document, 3, WHOLE_BYTES + 1),
    ];
    await store.documents.appendRows(rows);
    await store.documents.appendRows(rows);
    assertSame(await other.documents.readRows(document, 1), rows);
    assert.equal(await table("row_pieces").countDocuments(), 5 + 3);
    await other.documents.removeRows(rows.slice(1, 2));
    assertSame(await store.documents.readRows(document, 1), [
      row(document, 1, 10),
      row(document, 3, WHOLE_BYTES + 1),
    ]);
    await store.documents.purgeRows(document, 1);
    assert.deepEqual(await store.documents.readRows(document, 1), []);
    assert.equal(await table("row_pieces").countDocuments(), 0);
  });

  it("takes no notice of a large update of which a crash has left a part, and completes it when it comes again", async () => {
    const document = newId();
    const large = row(document, 2, WHOLE_BYTES + 1);
    await store.documents.appendRows([row(document, 1, 10), large]);
    const [logged] = await table("rows")
      .find({ _id: { $regex: /2$/ } })
      .toArray();
    const [piece] = await table("row_pieces").find().toArray();
    assert.ok(logged !== undefined && piece?.body?.length() === PIECE_BYTES);
    // Pieces without their row: the writer died before its last write.
    await table("rows").deleteOne({ _id: logged._id });
    assertSame(await store.documents.readRows(document, 1), [row(document, 1, 10)]);
    // A row without all of its pieces: who removes it died after the first step.
    await table("rows").insertOne(logged);
    await table("row_pieces").deleteOne({ _id: piece._id });
    assertSame(await store.documents.readRows(document, 1), [row(document, 1, 10)]);
    await store.documents.appendRows([large]);
    assertSame(await store.documents.readRows(document, 1), [row(document, 1, 10), large]);
  });

  it("purges what crashes have left of large updates with their epoch", async () => {
    const document = newId();
    const left = [1, 2].map((epoch) => ({ ...row(document, epoch, WHOLE_BYTES + 1), epoch }));
    await store.documents.appendRows(left);
    await store.documents.appendRows(left.map((one) => ({ ...one, seq: 9 })));
    const own = { _id: { $regex: `^${document}/` } };
    // Of either epoch, pieces without their row and a row without all of its pieces.
    await table("rows").deleteMany({ _id: { $regex: `^${document}/.*9$` } });
    await table("row_pieces").deleteMany({ _id: { $regex: `^${document}/.*[12]/0+1$` } });
    assert.deepEqual(await store.documents.readRows(document, 1), []);
    assert.deepEqual(await store.documents.getRows(left), []);
    await store.documents.purgeRows(document, 1);
    const remaining = await Promise.all(
      ["rows", "row_pieces"].map((name) => table(name).find(own).toArray()),
    );
    assert.deepEqual(
      remaining.map((found) => found.map(({ _id }) => _id.split("/")[1]?.replace(/^0+/, ""))),
      [["2"], ["2", "2", "2", "2", "2"]],
    );
    await store.documents.purgeRows(document, 2);
    for (const name of ["rows", "row_pieces"]) assert.equal(await table(name).countDocuments(own), 0, name);
  });

  it("asks for names by the index alone, and for rows in commands of bounded size", async () => {
    const document = newId();
    const rows = Array.from({ length: 2_100 }, (_, i) => row(document, i + 1, 10));
    await store.documents.appendRows(rows);
    const asked: { named: number; options: unknown }[] = [];
    const watched = new Proxy(db.collection<LogRow>("rows"), {
      get: (target, key) =>
        key === "find"
          ? (filter: { _id: { $in?: readonly string[] } }, options: unknown) => {
              asked.push({ named: filter._id.$in?.length ?? 0, options });
              return target.find(filter, options ?? {});
            }
          : Reflect.get(target, key, target),
    });
    const pieces = db.collection<RowPiece>("row_pieces");
    const watching = mongoRows({ gate: createGate(MONGO_LIMITS), rows: watched, pieces });
    assert.equal((await watching.listRows(document, 1)).length, rows.length);
    assert.deepEqual(asked.splice(0), [{ named: 0, options: { projection: { _id: 1 } } }]);
    assertSame(await watching.getRows(rows), rows);
    assert.deepEqual(
      asked.map(({ named }) => named),
      [1_000, 1_000, 100],
    );
  });

  it("cuts parts into chunks, takes what another attempt has left for what it is, and notices damage", async () => {
    const document = newId();
    const body = new Uint8Array(2 * CHUNK_BYTES + 7).map((_, i) => i % 253);
    await store.documents.putPart({ document, id: "p", body });
    const chunks = table("chunks").find({ _id: { $regex: `^${document}/p/` } });
    assert.deepEqual(
      (await chunks.sort({ _id: 1 }).toArray()).map((chunk) => chunk.body?.length()),
      [CHUNK_BYTES, CHUNK_BYTES, 7],
    );
    // A crash before the part is there: its chunks are listed for the sweep, but it is not.
    await table("parts").deleteOne({ _id: `${document}/p` });
    assert.equal(await store.documents.getPart(document, "p"), undefined);
    assert.deepEqual(
      (await store.documents.listParts(document)).map(({ id }) => id),
      ["p"],
    );
    const next = new Uint8Array(CHUNK_BYTES + 1).fill(9);
    await other.documents.putPart({ document, id: "p", body: next });
    assert.equal(Buffer.compare((await store.documents.getPart(document, "p")) ?? body, next), 0);
    await table("chunks").deleteMany({ _id: { $regex: `^${document}/p/.*1$` } });
    await assert.rejects(store.documents.getPart(document, "p"), /damaged/);
    await store.documents.removeParts(document, ["p"]);
    assert.equal(await table("chunks").countDocuments({ _id: { $regex: `^${document}/` } }), 0);
  });

  it("keeps a trimmed position taken for a node that slept through the trim", async () => {
    const stream = newId();
    for (const at of [1, 2, 3, 4]) await store.streams.append(stream, { at, entry: { at }, op: `op${at}` });
    await other.streams.trim(stream, 3);
    await store.streams.trim(stream, 2);
    assert.equal(await store.streams.append(stream, { at: 2, entry: {}, op: "late" }), "taken");
    assert.equal(
      await store.streams.append(stream, { at: 5, entry: {}, op: "late" }),
      "ok",
      "its op is not used up",
    );
    assert.equal(await other.streams.append(stream, { at: 1, entry: {}, op: "op4" }), "seen");
    assert.equal(await table("floors").countDocuments({ _id: { $regex: `^${stream}/` } }), 1);
  });

  it("counts rows below the floor for nothing, wherever they come from", async () => {
    const stream = newId();
    for (const at of [1, 2, 3]) await store.streams.append(stream, { at, entry: { at } });
    await store.streams.trim(stream, 3);
    // A write that was on its way for long, and a trim that died before it had deleted.
    const late = { _id: `${stream}/${"2".padStart(16, "0")}`, op: `${stream}/late`, json: "{}" };
    await table("entries").insertOne(late);
    assert.deepEqual(
      (await store.streams.read(stream, 1, 10)).map(({ at }) => at),
      [3],
    );
    assert.equal(await store.streams.append(stream, { at: 2, entry: {} }), "taken");
    assert.equal(
      await store.streams.append(stream, { at: 4, entry: {}, op: "late" }),
      "ok",
      "its op counts for nothing",
    );
    assert.equal(await table("entries").countDocuments({ _id: late._id }), 0);
  });

  it("gives every position to one writer while others trim right behind the head", async () => {
    const stream = newId();
    const outcomes = await Promise.all(
      [store, other, store, other].map(async ({ streams }, writer) => {
        const won: number[] = [];
        for (let i = 0; i < 15; i += 1) {
          const at = ((await streams.head(stream))?.at ?? 0) + 1;
          const [outcome] = await Promise.allSettled([
            streams.append(stream, { at, entry: { writer }, op: newId() }),
          ]);
          if (outcome.status === "fulfilled" && outcome.value === "ok") {
            won.push(at);
            await streams.trim(stream, at);
          }
        }
        return won;
      }),
    );
    const won = outcomes.flat();
    assert.equal(new Set(won).size, won.length, "no position was won twice");
    const head = (await store.streams.head(stream))?.at ?? 0;
    // A win that was trimmed before its writer could be sure is told to nobody.
    assert.ok(won.length > 0 && Math.max(...won) <= head);
    assert.deepEqual(
      (await store.streams.read(stream, 1, 99)).map(({ at }) => at),
      [head],
    );
  });

  for (const [when, hook] of [
    ["before its write", "before"],
    ["after its write", "after"],
  ] as const) {
    it(`tells nobody that a write has won, or lost, when the stream was trimmed right ${when}`, async () => {
      const stream = newId();
      await store.streams.append(stream, { at: 1, entry: {} });
      const passedBy = async () => {
        for (const at of [2, 3]) await other.streams.append(stream, { at, entry: {} });
        await other.streams.trim(stream, 3);
      };
      const entries = db.collection<EntryRow>("entries");
      const hooked = new Proxy(entries, {
        get: (target, key) =>
          key === "insertMany"
            ? async (...args: Parameters<typeof entries.insertMany>) => {
                if (hook === "before") await passedBy();
                const result = await target.insertMany(...args);
                if (hook === "after") await passedBy();
                return result;
              }
            : Reflect.get(target, key, target),
      });
      const gate = createGate(MONGO_LIMITS);
      const slow = mongoStreams({ gate, entries: hooked, floors: db.collection<{ _id: string }>("floors") });
      await assert.rejects(slow.append(stream, { at: 2, entry: {}, op: "slow" }), { code: "try_later" });
      assert.equal(await table("entries").countDocuments({ _id: { $regex: `^${stream}/` } }), 1);
      assert.equal(await slow.append(stream, { at: 2, entry: {}, op: "slow" }), "taken");
    });
  }

  it("counts what it wrote", async () => {
    const opened = await openTemporaryMongo();
    const { store: plain } = opened;
    await plain.documents.appendRows([row("doc", 1, 20)]);
    const { commits, writes, storedBytes, queuedWrites } = plain.stats();
    assert.deepEqual([commits, writes, queuedWrites], [1, 1, 0]);
    assert.ok(storedBytes > 20 && storedBytes < 200);
    await opened.close();
  });
});
