import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { Failure } from "@scriptorium/shared";
import * as Y from "yjs";
import { notesName, saved, until } from "./support/harness.ts";
import { statuses, syncs, update } from "./support/raw-client.ts";
import { openStage, textOf, textUpdate, type } from "./support/stage.ts";
import { syncMessage } from "../src/wire.ts";

function isReset(notice: unknown): boolean {
  return typeof notice === "object" && notice !== null && "type" in notice && notice.type === "reset";
}

describe("replacing a document", () => {
  it("[EP1] tells the clients of the old lineage and closes them with 4410, then serves the new content", async (t) => {
    const stage = await openStage(t);
    const { collab } = stage.harness;
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await type(ada, ["old ", "words "]);
    await saved(ada);
    await until(() => bo.text.length === 10, "bo sees the old words");
    await collab.replace(stage.name, textUpdate("new words"), "ada");
    await until(() => ada.closes.length > 0 && bo.closes.length > 0, "both are closed");
    assert.deepEqual([ada.closes[0], bo.closes[0]], [4410, 4410]);
    assert.equal(ada.notices.filter(isReset).length, 1);
    // What can be read is the new content, also while sockets of the old one are still closing.
    assert.equal(textOf(await collab.read(stage.name)), "new words");
    const carl = stage.provider("carl");
    await until(() => carl.text.toJSON() === "new words", "carl sees the new words");
    assert.equal(await stage.freshText(), "new words");
  });

  it("[EP1] reading right after the replacement gives the new content", async (t) => {
    const stage = await openStage(t);
    const { collab } = stage.harness;
    const ada = stage.provider("ada");
    await type(ada, ["old"]);
    await saved(ada);
    // A client that does not answer the close keeps the old room alive for a while.
    const silent = await stage.tcp(`/yjs/${encodeURIComponent(stage.name)}?token=eve`);
    silent.send(syncMessage(undefined, "step1", Uint8Array.of(0)));
    await until(() => syncs(silent, undefined).length === 2, "synced");
    silent.stop();
    await collab.replace(stage.name, textUpdate("new"), "ada");
    assert.equal(textOf(await collab.read(stage.name)), "new");
    await collab.remove(stage.name);
    await assert.rejects(collab.read(stage.name), (error) => error instanceof Failure);
  });

  it("[EP1] what an old client types meanwhile is neither merged nor acknowledged", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    await type(ada, ["old"]);
    await saved(ada);
    const raw = await stage.rawCollab("carl");
    stage.faulty.inject({ kind: "stall" }, ["heads.append"]);
    const replaced = stage.harness.collab.replace(stage.name, textUpdate("new"), "carl");
    await until(() => stage.faulty.stalled === 1, "the replacement is under way");
    const bo = stage.provider("bo");
    await type(ada, [" and more"]);
    raw.send(update(stage.name, textUpdate("and more")));
    raw.ws.ping();
    await once(raw.ws, "pong");
    // Another document's commit comes later than that of anything that was accepted before.
    const other = stage.provider("carl", { name: notesName() });
    await type(other, ["elsewhere"]);
    await saved(other);
    assert.deepEqual(statuses(raw, stage.name), []);
    assert.equal(ada.provider.unsyncedChanges, 1);
    stage.faulty.heal();
    await replaced;
    await until(() => ada.closes.length > 0, "ada is closed");
    await until(() => bo.text.toJSON() === "new", "who came meanwhile sees the new content");
    assert.equal(await stage.freshText(), "new");
  });

  it("[EP1] [EP3] a document that is being loaded during the replacement is the new one", async (t) => {
    const stage = await openStage(t);
    const { collab } = stage.harness;
    await collab.replace(stage.name, textUpdate("first"), "ada");
    stage.faulty.inject({ kind: "stall" }, ["getPart"]);
    const ada = stage.provider("ada");
    await until(() => stage.faulty.stalled === 1, "the document is being loaded");
    const replaced = collab.replace(stage.name, textUpdate("second"), "carl");
    stage.faulty.heal();
    await replaced;
    await until(() => ada.text.toJSON() === "second", "ada sees the second");
    await type(ada, ["!"]);
    await saved(ada);
    assert.equal(await stage.freshText(), "second!");
  });

  for (const [what, kind, after] of [
    ["fails", "fail", "old, goes on"],
    ["succeeds but is not heard of", "lose-answer", "new, goes on"],
  ] as const) {
    it(`[EP1] a replacement that ${what} sends its clients to what the store has`, async (t) => {
      const stage = await openStage(t);
      const { collab } = stage.harness;
      const ada = stage.provider("ada");
      await type(ada, ["old"]);
      await saved(ada);
      stage.faulty.inject({ kind, times: 1 }, ["heads.append"]);
      await assert.rejects(collab.replace(stage.name, textUpdate("new"), "carl"));
      await until(() => ada.closes.includes(1013), "ada is sent away");
      await until(() => collab.stats().documents === 0 || ada.closes.length > 1, "unloaded");
      const bo = stage.provider("bo");
      await saved(bo);
      await type(bo, [", goes on"]);
      await saved(bo);
      assert.equal(await stage.freshText(), after);
    });
  }

  it("[EP2] a client that was offline is told when it returns, in both dialects, and merges nothing", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await type(ada, ["old "]);
    await saved(ada);
    await until(() => bo.text.length === 4, "bo sees it");
    ada.socket.disconnect();
    bo.provider.disconnect();
    await until(() => stage.harness.collab.stats().documents === 0, "unloaded");
    await type(ada, ["typed ", "offline "]);
    await type(bo, ["offline too "]);
    await stage.harness.collab.replace(stage.name, textUpdate("new"), "carl");
    const carl = stage.provider("carl");
    await until(() => carl.text.toJSON() === "new", "carl sees the new content");
    void ada.socket.connect();
    bo.provider.connect();
    await until(() => ada.closes.includes(4410) && bo.closes.includes(4410), "both are told");
    assert.ok(ada.notices.some(isReset));
    await type(carl, ["er"]);
    await saved(carl);
    assert.equal(carl.text.toJSON(), "newer");
    assert.equal(await stage.freshText(), "newer");
  });

  it("[EP2] a restored backup shares its past with its clients: who has nothing newer goes on, who has is told", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    await type(ada, ["backed up "]);
    await saved(ada);
    const backup = Y.encodeStateAsUpdate(ada.doc);
    const early = new Y.Doc();
    Y.applyUpdate(early, backup);
    await type(ada, ["and after "]);
    await saved(ada);
    await stage.harness.collab.replace(stage.name, backup, "carl");
    await until(() => ada.closes.length > 0, "ada is closed");
    const bo = stage.provider("bo", { doc: early });
    await saved(bo);
    await type(bo, ["by bo"]);
    await saved(bo);
    assert.deepEqual(bo.closes, []);
    await until(() => ada.notices.filter(isReset).length >= 2, "ada is told again when it returns");
    assert.equal(await stage.freshText(), "backed up by bo");
  });

  it("[EP3] rows of an old epoch are never read again, not even when they are written late", async (t) => {
    const stage = await openStage(t);
    const { collab, store } = stage.harness;
    const ada = stage.provider("ada");
    await type(ada, ["old"]);
    await saved(ada);
    const [row] = await store.readRows(stage.name, 1);
    await collab.replace(stage.name, textUpdate("new"), "ada");
    assert.deepEqual(await store.readRows(stage.name, 1), []);
    assert.ok(row !== undefined);
    // A node that slept through the replacement.
    await store.appendRows([{ ...row, node: "late", seq: 9 }]);
    assert.equal(await stage.freshText(), "new");
  });
});

describe("removing a document", () => {
  it("[EP4] closes its clients with 4404, leaves nothing behind, and cannot be opened again", async (t) => {
    const stage = await openStage(t, { limits: { compactRows: 5 } });
    const { collab, store } = stage.harness;
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    for (let i = 0; i < 12; i += 1) {
      await type(ada, [`${i} `]);
      await saved(ada);
    }
    await until(() => collab.stats().compactions > 0 && bo.text.length > 12, "compacted");
    await collab.remove(stage.name);
    await until(() => ada.closes.includes(4404) && bo.closes.includes(4404), "both are closed");
    ada.destroy();
    bo.destroy();
    await until(() => collab.stats().documents === 0, "unloaded");
    assert.deepEqual(await store.readRows(stage.name, 1), []);
    assert.deepEqual(await store.listParts(stage.name), []);
    await assert.rejects(collab.read(stage.name), (error) => error instanceof Failure);
    const carl = stage.provider("carl");
    const dora = stage.yjs("dora");
    await until(() => carl.denials.length > 0 && dora.closes.length > 0, "nobody gets in");
    assert.deepEqual([carl.denials[0], dora.closes[0]], ["document_deleted", 4404]);
    assert.equal(collab.stats().documents, 0);
  });

  it("[EP4] a document can be removed before anybody has opened it, and twice", async (t) => {
    const stage = await openStage(t);
    await stage.harness.collab.remove(stage.name);
    await stage.harness.collab.remove(stage.name);
    const ada = stage.provider("ada");
    await until(() => ada.denials.length > 0, "denied");
    assert.deepEqual(ada.denials, ["document_deleted"]);
  });
});
