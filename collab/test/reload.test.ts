import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as Y from "yjs";
import { saved, until } from "./support/harness.ts";
import { openStage, type } from "./support/stage.ts";

const TEXT = "exactly once ";

describe("tabs, reloads and reconnects", () => {
  it("[WP6] two tabs of one person show the text once, and go on when one is closed", async (t) => {
    const stage = await openStage(t);
    const first = stage.provider("ada");
    await type(first, [TEXT]);
    await saved(first);
    const second = stage.provider("ada");
    const third = stage.yjs("ada");
    await until(
      () => second.text.toJSON() === TEXT && third.text.toJSON() === TEXT,
      "the other tabs show it",
    );
    first.destroy();
    await type(second, [TEXT]);
    await type(third, [TEXT]);
    await saved(second);
    await until(
      () => second.text.toJSON() === TEXT.repeat(3) && third.text.length === second.text.length,
      "equal",
    );
    assert.equal(await stage.freshText(), TEXT.repeat(3));
  });

  it("[WP6] reloading with and without a local copy doubles nothing", async (t) => {
    const stage = await openStage(t);
    const first = stage.provider("ada");
    await type(first, [TEXT]);
    await saved(first);
    const copy = Y.encodeStateAsUpdate(first.doc);
    first.destroy();
    for (const local of [undefined, copy, copy]) {
      await until(() => stage.harness.collab.stats().documents === 0, "unloaded");
      const doc = new Y.Doc();
      const again = stage.provider("ada", { doc });
      // As y-indexeddb does: the local copy arrives while the socket is being opened, and is sent as an update.
      if (local !== undefined) Y.applyUpdate(doc, local);
      await saved(again);
      assert.equal(again.text.toJSON(), TEXT);
      again.destroy();
    }
    assert.equal(await stage.freshText(), TEXT);
    assert.equal((await stage.harness.store.readRows(stage.name, 1)).length, 1, "and writes nothing");
  });

  it("[DL3] [WP6] reconnecting to a server that was restarted doubles nothing, in either dialect", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await type(ada, [TEXT]);
    await saved(ada);
    await until(() => bo.text.toJSON() === TEXT, "bo sees it");
    for (let round = 1; round <= 3; round += 1) {
      await stage.harness.restart();
      await until(() => ada.closes.length >= round && bo.closes.length >= round, "both were cut off");
      await until(() => ada.provider.isSynced && bo.provider.synced, "both are back");
      await saved(ada);
      assert.equal(ada.text.toJSON(), TEXT);
      assert.equal(bo.text.toJSON(), TEXT);
    }
    // 1006: an attempt to come back while the server was still stopping, answered 503.
    const others = [...ada.closes, ...bo.closes].filter((code) => code !== 1012 && code !== 1006);
    assert.deepEqual(others, []);
    assert.equal(await stage.freshText(), TEXT);
  });

  it("[WP6] a client that comes back gets exactly what it missed, in either dialect", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    const bo = stage.provider("bo");
    const carl = stage.yjs("carl");
    await type(ada, [TEXT]);
    await saved(ada);
    await until(() => bo.text.toJSON() === TEXT && carl.text.toJSON() === TEXT, "all see it");
    bo.socket.disconnect();
    carl.provider.disconnect();
    await until(
      () => bo.closes.length === 1 && stage.harness.collab.stats().sockets === 1,
      "two are offline",
    );
    await type(ada, ["missed "]);
    ada.text.delete(0, 8);
    await saved(ada);
    void bo.socket.connect();
    carl.provider.connect();
    await until(() => bo.text.toJSON() === "once missed ", "bo has it");
    await until(() => carl.text.toJSON() === "once missed ", "carl has it");
    assert.equal(await stage.freshText(), "once missed ");
  });

  it("[SH3] offline edits of both dialects are merged on return and acknowledged once", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await saved(ada);
    await until(() => bo.provider.synced, "synced");
    ada.socket.disconnect();
    bo.provider.disconnect();
    await until(
      () => stage.harness.collab.stats().sockets === 0 && ada.closes.length === 1,
      "both are offline",
    );
    await type(ada, ["ada ", "was ", "offline "]);
    await type(bo, ["bo ", "too "]);
    void ada.socket.connect();
    bo.provider.connect();
    await saved(ada);
    await until(() => ada.text.length === 23 && bo.text.toJSON() === ada.text.toJSON(), "equal texts");
    assert.equal(ada.provider.unsyncedChanges, 0);
    assert.equal(await stage.freshText(), ada.text.toJSON());
  });
});
