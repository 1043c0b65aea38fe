import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import * as Y from "yjs";
import { saved, until } from "./support/harness.ts";
import { statuses, syncs, update } from "./support/raw-client.ts";
import { openStage, readOnlyReason, type } from "./support/stage.ts";
import { syncMessage } from "../src/wire.ts";

describe("a store that fails or stalls", () => {
  it("[DL1] [SH1] [FX1] acknowledges nothing before the commit, and others see the edits meanwhile", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider();
    const bo = stage.yjs();
    await saved(ada);
    stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
    await type(ada, ["one ", "two ", "three "]);
    await until(() => bo.text.toJSON() === "one two three ", "bo sees the edits");
    await until(() => stage.faulty.stalled === 1, "a commit is under way");
    // A round trip on the same socket: an early acknowledgement would have come before the second client's echo.
    bo.text.insert(0, "zero ");
    await until(() => ada.text.toJSON() === "zero one two three ", "ada sees bo's edit");
    assert.equal(ada.provider.unsyncedChanges, 3);
    assert.equal(stage.harness.collab.stats().heldAcks, 4);
    stage.faulty.heal();
    await saved(ada);
    assert.equal(stage.harness.collab.stats().heldAcks, 0);
    assert.equal(await stage.freshText(), "zero one two three ");
  });

  it("[DL5] [SH1] retries a failing commit with the same rows until it succeeds", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider();
    const bo = stage.yjs();
    await saved(ada);
    await until(() => bo.provider.synced, "bo is synced");
    stage.faulty.inject({ kind: "fail", times: 3 }, ["appendRows"]);
    await type(ada, ["a", "b", "c", "d"]);
    bo.text.insert(0, "B");
    await until(() => ada.text.length === 5, "edits are still exchanged");
    await saved(ada);
    const rows = await stage.harness.store.readRows(stage.name, 1);
    assert.equal(new Set(rows.map((row) => row.seq)).size, rows.length);
    assert.deepEqual(
      rows.map((row) => row.seq),
      rows.map((_, index) => index + 1),
    );
    assert.equal(await stage.freshText(), ada.text.toJSON());
  });

  it("[DL5] writes nothing twice when a commit landed but its answer was lost", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider();
    await saved(ada);
    stage.faulty.inject({ kind: "lose-answer", times: 2 }, ["appendRows"]);
    await type(ada, ["once ", "only "]);
    await saved(ada);
    const rows = await stage.harness.store.readRows(stage.name, 1);
    assert.equal(new Set(rows.map((row) => row.seq)).size, rows.length);
    assert.equal(await stage.freshText(), "once only ");
    assert.equal(ada.provider.unsyncedChanges, 0);
  });

  it("[SH2] [SH3] goes read-only in place after the grace time and comes back by itself", async (t) => {
    const stage = await openStage(t, { limits: { storeGraceMs: 300 } });
    const ada = stage.provider();
    const carl = stage.provider("carl");
    const bo = stage.yjs();
    await saved(ada);
    await saved(carl);
    await until(() => bo.provider.synced, "bo is synced");
    stage.faulty.inject({ kind: "fail", times: Number.POSITIVE_INFINITY }, ["appendRows"]);
    await type(ada, ["accepted "]);
    await until(() => readOnlyReason(ada) === "store", "ada is told why");
    await until(() => readOnlyReason(carl) === "store", "carl is told why");
    assert.equal(ada.provider.authorizedScope, "readonly");
    assert.equal(stage.harness.collab.stats().store, "read-only");
    // Typed while read-only, by both dialects: refused now, brought again later.
    await type(ada, ["ada-1 ", "ada-2 ", "ada-3 "]);
    await type(carl, ["carl-1 ", "carl-2 "]);
    bo.text.insert(0, "bo-1 ");
    assert.deepEqual(ada.closes, []);
    await until(() => ada.provider.unsyncedChanges === 4, "nothing of ada's is acknowledged");
    assert.equal(carl.text.toJSON().includes("ada-1"), false, "what is not accepted is not shown");
    stage.faulty.heal();
    await until(() => readOnlyReason(ada) === null, "ada is told that it is over");
    await saved(ada);
    await saved(carl);
    await until(
      () => ada.text.length === carl.text.length && ada.text.toJSON() === bo.text.toJSON(),
      "equal texts",
    );
    assert.equal(ada.provider.authorizedScope, "read-write");
    const text = ada.text.toJSON();
    for (const word of ["accepted ", "ada-1 ", "ada-2 ", "ada-3 ", "carl-1 ", "carl-2 ", "bo-1 "])
      assert.equal(text.split(word).length, 2, `${word} is there once`);
    assert.equal(await stage.freshText(), text);
    assert.equal(ada.provider.unsyncedChanges, 0);
    assert.equal(carl.provider.unsyncedChanges, 0);
    assert.deepEqual([...ada.closes, ...carl.closes, ...bo.closes], []);
  });

  it("[SH3] keeps the count exact for a client that goes on typing while the store comes back", async (t) => {
    const stage = await openStage(t, { limits: { storeGraceMs: 250 } });
    const ada = stage.provider();
    const bo = stage.provider("bo");
    await saved(ada);
    await saved(bo);
    for (let round = 0; round < 3; round += 1) {
      stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
      await type(ada, ["x"]);
      await until(() => readOnlyReason(ada) === "store", "read-only");
      await type(ada, ["1", "2"]);
      stage.faulty.heal();
      // The updates that follow depend on the refused ones: the server gets them before it gets those again.
      await type(ada, ["3", "4", "5"]);
      await type(bo, ["b"]);
      await saved(ada);
      await saved(bo);
      await until(() => readOnlyReason(ada) === null, "writable");
    }
    await until(() => bo.text.toJSON() === ada.text.toJSON(), "equal texts");
    assert.equal(ada.text.length, 3 * 7);
    assert.equal(await stage.freshText(), ada.text.toJSON());
    assert.equal(ada.provider.unsyncedChanges, 0, "an acknowledgement too many would hide a change later");
    stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
    await type(ada, ["y"]);
    await until(() => bo.text.length === ada.text.length, "bo sees it");
    assert.equal(ada.provider.unsyncedChanges, 1);
  });

  it("[SH3] [DL2] gives every message that was refused meanwhile exactly one acknowledgement", async (t) => {
    const stage = await openStage(t, { limits: { storeGraceMs: 250 } });
    const raw = await stage.rawCollab("ada");
    const bo = stage.provider("bo");
    await saved(bo);
    const doc = new Y.Doc();
    // The answer to the handshake, which the provider counts as its first change.
    raw.send(syncMessage(stage.name, "step2", Y.encodeStateAsUpdate(doc)));
    await until(() => statuses(raw, stage.name).length === 1, "the handshake is acknowledged");
    doc.on("update", (bytes: Uint8Array) => raw.send(update(stage.name, bytes)));
    stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
    await type({ text: doc.getText("md") }, ["accepted "]);
    await until(() => readOnlyReason(bo) === "store", "read-only");
    await type({ text: doc.getText("md") }, ["refused ", "refused ", "refused "]);
    raw.ws.ping();
    await once(raw.ws, "pong");
    const asked = syncs(raw, stage.name).filter(({ kind }) => kind === "step1").length;
    stage.faulty.heal();
    await until(
      () => syncs(raw, stage.name).filter(({ kind }) => kind === "step1").length > asked,
      "the server asks for what it refused",
    );
    assert.deepEqual(
      statuses(raw, stage.name),
      [true, true],
      "only what was accepted is acknowledged so far",
    );
    raw.send(syncMessage(stage.name, "step2", Y.encodeStateAsUpdate(doc)));
    await until(() => statuses(raw, stage.name).length >= 5, "the others are acknowledged");
    bo.text.insert(0, "a round trip later ");
    await saved(bo);
    await until(() => syncs(raw, stage.name).some(({ kind }) => kind === "update"), "bo's words arrive");
    assert.deepEqual(statuses(raw, stage.name), [true, true, true, true, true]);
    assert.equal(await stage.freshText(), bo.text.toJSON());
  });

  it("[SH3] accepts what was typed offline during the outage once the store is back", async (t) => {
    const stage = await openStage(t, { limits: { storeGraceMs: 250 } });
    const ada = stage.provider();
    const bo = stage.provider("bo");
    await saved(ada);
    await saved(bo);
    stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
    await type(bo, ["before "]);
    await until(() => readOnlyReason(ada) === "store", "read-only");
    ada.socket.disconnect();
    await until(() => !ada.provider.isSynced, "ada is offline");
    await type(ada, ["offline "]);
    void ada.socket.connect();
    await until(() => ada.notices.length >= 3 && ada.provider.isSynced, "ada is back, read-only");
    await type(ada, ["again "]);
    assert.ok(ada.provider.unsyncedChanges > 0);
    stage.faulty.heal();
    await saved(ada);
    await until(() => bo.text.toJSON() === ada.text.toJSON(), "equal texts");
    for (const word of ["before ", "offline ", "again "])
      assert.equal(ada.text.toJSON().split(word).length, 2, `${word} is there once`);
    assert.equal(await stage.freshText(), ada.text.toJSON());
  });

  it("[SH2] goes read-only when too much is uncommitted, whatever the time", async (t) => {
    const stage = await openStage(t, { limits: { uncommittedBytes: 10_000, storeGraceMs: 600_000 } });
    const ada = stage.provider();
    await saved(ada);
    stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
    await type(
      ada,
      Array.from({ length: 12 }, (_, i) => `${i}`.repeat(1_000)),
    );
    await until(() => readOnlyReason(ada) === "store", "read-only");
    stage.faulty.heal();
    await saved(ada);
    assert.equal(readOnlyReason(ada), null);
    assert.equal(await stage.freshText(), ada.text.toJSON());
  });

  it("[SH4] [FX11] closes with 1013 when a document cannot be loaded, and never shows it empty or forbidden", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider();
    ada.text.insert(0, "precious");
    await saved(ada);
    ada.socket.disconnect();
    await until(() => stage.harness.collab.stats().documents === 0, "unloaded");
    stage.faulty.inject({ kind: "fail", times: Number.POSITIVE_INFINITY }, ["readRows"]);
    const bo = stage.provider("bo");
    const carl = stage.yjs("carl");
    await until(() => bo.closes.length >= 2 && carl.closes.length >= 2, "both are sent away, twice");
    assert.deepEqual([...new Set([...bo.closes, ...carl.closes])], [1013]);
    assert.deepEqual(bo.denials, []);
    assert.equal(bo.provider.isSynced, false);
    assert.equal(carl.provider.synced, false);
    assert.equal(bo.provider.isAuthenticated, false);
    stage.faulty.heal();
    await until(() => bo.text.toJSON() === "precious", "bo sees the document");
    await until(() => carl.text.toJSON() === "precious", "carl sees the document");
  });

  it("[SH5] [FX3] does not unload a document before its updates are committed, and does so afterwards", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider();
    await saved(ada);
    stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
    await type(ada, ["held"]);
    await until(() => stage.harness.collab.stats().uncommitted === 1, "accepted");
    ada.destroy();
    await until(() => stage.harness.collab.stats().sockets === 0, "ada is gone");
    const bo = stage.provider("bo");
    await until(() => bo.text.toJSON() === "held", "bo sees what is not committed yet");
    bo.destroy();
    await until(() => stage.harness.collab.stats().sockets === 0, "bo is gone");
    assert.equal(stage.harness.collab.stats().documents, 1);
    stage.faulty.heal();
    await until(() => stage.harness.collab.stats().documents === 0, "unloaded by itself");
    assert.equal(await stage.freshText(), "held");
  });
});
