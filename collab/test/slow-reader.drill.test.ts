import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as Y from "yjs";
import { memoryDocumentStore } from "@scriptorium/collab/testing";
import { MESSAGE } from "@scriptorium/shared";
import { saved, until, type ProviderClient } from "./support/harness.ts";
import { step1, syncs, update, type TcpReader } from "./support/raw-client.ts";
import { openStage, textUpdate, type Stage } from "./support/stage.ts";
import { syncMessage, authTokenMessage } from "../src/wire.ts";

const MB = 1024 * 1024;
/** What the kernel takes for a reader that does not read; loopback buffers grow up to about this. */
const KERNEL_BYTES = 16 * MB;

setFlagsFromString("--expose_gc");
const collectGarbage = runInNewContext("gc");

function memory(): { kept: number; rss: number } {
  collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { kept: heapUsed + external, rss };
}

/** A reader in either dialect that has the document open and has stopped reading. */
async function stoppedReader(stage: Stage, door: "collab" | "yjs"): Promise<TcpReader> {
  const path = door === "yjs" ? `/yjs/${encodeURIComponent(stage.name)}?token=eve` : "/collab";
  const reader = await stage.tcp(path);
  const address = door === "yjs" ? undefined : stage.name;
  if (address !== undefined) reader.send(authTokenMessage(address, "eve"));
  reader.send(step1(address));
  await until(() => syncs(reader, address).length >= 2, "the reader is synced");
  reader.stop();
  return reader;
}

/** Pastes and deletes until the bytes have gone by; calls `look` after each. */
async function paste(writer: ProviderClient, bytes: number, look: () => void): Promise<void> {
  const text = "All work and no play makes Jack a dull boy. ".repeat(24_000);
  for (let sent = 0; sent < bytes; sent += text.length) {
    writer.text.insert(0, text);
    await saved(writer);
    look();
    writer.text.delete(0, text.length);
    await saved(writer);
    look();
  }
}

/** What a reader that applied everything it was sent would show. */
function textOfReader(reader: TcpReader, address: string | undefined): string {
  const doc = new Y.Doc();
  for (const sync of syncs(reader, address)) if (sync.kind !== "step1") Y.applyUpdate(doc, sync.body);
  return doc.getText("md").toJSON();
}

describe("a reader that stops", () => {
  it("[LM3] [FX10] costs at most its budget while 60 MB go by, and converges by one diff when it reads again", async (t) => {
    const clientBufferBytes = MB;
    const stage = await openStage(t, {
      limits: {
        clientBufferBytes,
        documentBytes: 8 * MB,
        messageBytes: 16 * MB,
        stallMs: 600_000,
        commitPaceMs: 1,
      },
      // Rows in memory would be the growth that is measured.
      store: { ...memoryDocumentStore(), appendRows: async () => undefined },
    });
    const { collab } = stage.harness;
    const writer = stage.provider("ada");
    await saved(writer);
    writer.text.insert(0, "the end");
    await saved(writer);
    const readers = [await stoppedReader(stage, "collab"), await stoppedReader(stage, "yjs")] as const;
    await paste(writer, 10 * MB, () => undefined);
    const before = memory();
    let most = 0;
    await paste(writer, 60 * MB, () => {
      most = Math.max(most, collab.stats().bufferedBytes);
    });
    const after = memory();
    const [kept, rss] = [after.kept - before.kept, after.rss - before.rss];
    t.diagnostic(
      `most buffered ${(most / MB).toFixed(1)} MB, memory kept ${(kept / MB).toFixed(1)} MB, RSS ${(rss / MB).toFixed(1)} MB`,
    );
    // Each may be over its budget by the one message that found it within.
    assert.ok(most <= readers.length * (clientBufferBytes + 2 * MB), `${most} bytes buffered`);
    // A busy machine has a few pastes under way at this moment; without the budget it would be twice 60 MB.
    assert.ok(kept < 40 * MB, `${kept} bytes more are kept`);
    // RSS is what the allocator has not given back.
    assert.ok(rss < 100 * MB, `RSS grew by ${rss}`);
    assert.equal(collab.stats().resyncs, 0);
    writer.text.insert(0, "and then ");
    await saved(writer);
    for (const reader of readers) reader.read();
    await until(() => collab.stats().resyncs === 2, "one diff for each");
    const addresses = [stage.name, undefined] as const;
    await until(
      () => readers.every((reader, i) => textOfReader(reader, addresses[i]) === "and then the end"),
      "the readers have the text",
    );
    for (const reader of readers) assert.ok(reader.received < KERNEL_BYTES, `${reader.received} bytes sent`);
    // Back to normal: the next edit comes as itself.
    writer.text.insert(0, "live: ");
    await until(
      () => readers.every((reader, i) => textOfReader(reader, addresses[i]).startsWith("live: ")),
      "live",
    );
    assert.equal(collab.stats().resyncs, 2);
    assert.deepEqual(writer.closes, []);
  });

  it("[LM3] asks for the whole document again and again in vain", async (t) => {
    const clientBufferBytes = MB;
    const stage = await openStage(t, {
      limits: { clientBufferBytes, messageBurst: 1_000, stallMs: 600_000, commitPaceMs: 1 },
    });
    const writer = stage.provider("ada");
    writer.text.insert(0, "x".repeat(2 * MB));
    await saved(writer);
    const reader = await stoppedReader(stage, "collab");
    for (let i = 0; i < 100; i += 1) {
      reader.send(step1(stage.name));
      reader.send(queryAwareness(stage.name));
    }
    reader.send(update(stage.name, textUpdate("seen")));
    await until(() => writer.text.toJSON().includes("seen"), "the server has read all that");
    const { bufferedBytes } = stage.harness.collab.stats();
    assert.ok(bufferedBytes <= clientBufferBytes + 5 * MB, `${bufferedBytes} bytes buffered`);
    reader.read();
    await until(() => textOfReader(reader, stage.name) === writer.text.toJSON(), "the reader has the text");
    assert.ok(syncs(reader, stage.name).some((sync) => sync.kind === "step2"));
  });

  it("[LM4] is closed with 4508 when it does not drain", async (t) => {
    const stage = await openStage(t, {
      limits: {
        clientBufferBytes: 200_000,
        messageBytes: 16 * MB,
        documentBytes: 16 * MB,
        stallMs: 700,
        commitPaceMs: 1,
      },
    });
    const { collab, logged } = stage.harness;
    const writer = stage.provider("ada");
    await saved(writer);
    const reader = await stoppedReader(stage, "yjs");
    const gone = await stoppedReader(stage, "collab");
    const refused = (): boolean =>
      logged.filter((line) => Reflect.get(line.fields, "code") === "slow_consumer").length === 2;
    const wakeUp = async (): Promise<void> => {
      await until(refused, "both are refused");
      // One wakes up and learns why; of the other nothing is kept.
      reader.read();
    };
    await Promise.all([paste(writer, 20 * MB, () => undefined), wakeUp()]);
    await until(() => reader.closeCode !== undefined, "the close frame arrives");
    assert.equal(reader.closeCode, 4508);
    await until(() => collab.stats().sockets === 1, "both sockets are gone");
    assert.equal(gone.closeCode, undefined);
    assert.deepEqual(writer.closes, []);
  });
});

function queryAwareness(address: string): Uint8Array {
  const sync = syncMessage(address, "step1", new Uint8Array());
  return Uint8Array.from([...sync.subarray(0, sync.length - 3), MESSAGE.queryAwareness]);
}
