import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as Y from "yjs";
import { saved, until } from "./support/harness.ts";
import { syncs, update } from "./support/raw-client.ts";
import { openStage, textUpdate, type } from "./support/stage.ts";

describe("who gets what", () => {
  it("[WP3] a document's state is sent once to each client that opens it", async (t) => {
    const stage = await openStage(t);
    const text = "0123456789".repeat(5_000);
    const ada = stage.provider();
    ada.text.insert(0, text);
    await saved(ada);
    ada.destroy();
    await until(() => stage.harness.collab.stats().documents === 0, "unloaded");
    // The first opens a cold document, the others a warm one.
    for (const client of [await stage.rawCollab(), await stage.rawCollab(), await stage.rawYjs()]) {
      const address = client.ws.url.includes("/yjs/") ? undefined : stage.name;
      // A round trip later than the answer: whatever was going to be sent twice is here now.
      const other = stage.provider("carl");
      other.text.insert(0, "!");
      await until(() => syncs(client, address).some((sync) => sync.kind === "update"), "a later update");
      await saved(other);
      const large = syncs(client, address).filter((sync) => sync.body.length > 10_000);
      assert.deepEqual(
        large.map((sync) => sync.kind),
        ["step2"],
      );
      const bytes = client.messages.reduce((sum, message) => sum + message.length, 0);
      assert.ok(bytes < text.length + 2_000, `${bytes} bytes for a document of ${text.length}`);
      other.destroy();
      client.destroy();
    }
  });

  it("[WP4] an author does not get its own update back, in either dialect", async (t) => {
    const stage = await openStage(t);
    const [raw, bare] = [await stage.rawCollab("ada"), await stage.rawYjs("bo")];
    const carl = stage.provider("carl");
    await saved(carl);
    raw.send(update(stage.name, textUpdate("from raw")));
    await until(() => carl.text.length === 8, "carl sees the first");
    bare.send(update(undefined, textUpdate("from bare")));
    await until(() => carl.text.length === 17, "carl sees the second");
    carl.text.insert(0, "from carl");
    const words = (messages: ReturnType<typeof syncs>): string[] =>
      messages
        .map(({ body }) => Buffer.from(body).toString())
        .flatMap((body) => ["from raw", "from bare", "from carl"].filter((text) => body.includes(text)));
    await until(() => words(syncs(raw, stage.name)).includes("from carl"), "raw got the last");
    await until(() => words(syncs(bare, undefined)).includes("from carl"), "bare got the last");
    assert.deepEqual(words(syncs(raw, stage.name)), ["from bare", "from carl"]);
    assert.deepEqual(words(syncs(bare, undefined)), ["from raw", "from carl"]);
  });

  it("[WP4] a paste above a megabyte reaches everybody but its author, whoever wrote before it", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    const bo = stage.provider("bo");
    const carl = stage.yjs("carl");
    await saved(ada);
    await saved(bo);
    await until(() => carl.provider.synced, "carl is synced");
    bo.text.insert(0, "bo was the last author ");
    await until(() => ada.text.length > 0 && carl.text.length > 0, "all see bo's words");
    const paste = "p".repeat(1_500_000);
    ada.text.insert(0, paste);
    await saved(ada);
    await until(() => carl.text.length === ada.text.length, "carl sees the paste");
    await until(() => bo.text.length === ada.text.length, "bo sees the paste");
  });

  it("[DL2] every message gets exactly one acknowledgement, also one without news", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider();
    const raw = await stage.rawCollab("bo");
    await saved(ada);
    await type(
      ada,
      Array.from({ length: 50 }, (_, i) => `${i} `),
    );
    await saved(ada);
    const known = Y.encodeStateAsUpdate(ada.doc);
    for (let i = 0; i < 7; i += 1) raw.send(update(stage.name, known));
    raw.send(update(stage.name, textUpdate("news")));
    const acknowledged = (): number => raw.messages.filter((message) => isAck(message, stage.name)).length;
    await until(() => acknowledged() >= 8, "eight acknowledgements");
    await type(ada, ["a", "b"]);
    await saved(ada);
    await until(() => syncs(raw, stage.name).length >= 4, "the round trip is over");
    assert.equal(acknowledged(), 8);
    assert.equal(ada.provider.unsyncedChanges, 0);
  });
});

function isAck(message: Uint8Array, name: string): boolean {
  const { length } = Buffer.from(name);
  return message[length + 1] === 8 && message[length + 2] === 1;
}
