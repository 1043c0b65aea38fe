import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { WebSocket } from "ws";
import * as Y from "yjs";
import type { CollabLimits } from "@scriptorium/collab";
import { notesName, saved, until } from "./support/harness.ts";
import { awareness, statuses, step1, update, type RawClient } from "./support/raw-client.ts";
import { openStage, textUpdate, type, type Stage } from "./support/stage.ts";
import { writePresence } from "../src/presence.ts";
import { authTokenMessage } from "../src/wire.ts";

interface Crowd extends Stage {
  /** Edits by both bystanders reach each other and the store; their sockets have not been touched. */
  undisturbed(): Promise<void>;
}

/** A document with two people on it who must not notice what happens to the client under test. */
async function crowd(t: TestContext, limits: Partial<CollabLimits>): Promise<Crowd> {
  const stage = await openStage(t, { limits });
  const ada = stage.provider("ada");
  const bo = stage.yjs("bo");
  const equal = (): boolean => ada.text.toJSON() === bo.text.toJSON();
  await saved(ada);
  await until(() => bo.provider.synced, "bo is synced");
  return {
    ...stage,
    async undisturbed() {
      const before = ada.text.length;
      ada.text.insert(0, "a");
      bo.text.insert(bo.text.length, "b");
      await saved(ada);
      await until(() => ada.text.length === before + 2 && equal(), "the bystanders see each other's edits");
      assert.deepEqual([...ada.closes, ...bo.closes], []);
      assert.equal(await stage.freshText(), ada.text.toJSON());
    },
  };
}

async function closedWith(client: RawClient, code: number): Promise<void> {
  await until(() => client.closed !== undefined, `closed with ${code}`);
  assert.equal(client.closed?.code, code);
}

describe("limits on a client", () => {
  it("[LM1] messageBytes: a larger message closes its sender with 1009", async (t) => {
    const stage = await crowd(t, { messageBytes: 20_000 });
    const [raw, bare] = [await stage.rawCollab(), await stage.rawYjs()];
    raw.send(update(stage.name, textUpdate("x".repeat(21_000))));
    bare.send(update(undefined, textUpdate("x".repeat(21_000))));
    await closedWith(raw, 1009);
    await closedWith(bare, 1009);
    await stage.undisturbed();
  });

  it("[LM1] documentBytes: the sender is closed with 4413, what was accepted stays", async (t) => {
    const stage = await crowd(t, { documentBytes: 10_000 });
    const [raw, bare] = [await stage.rawCollab(), await stage.rawYjs()];
    raw.send(update(stage.name, textUpdate("a".repeat(6_000))));
    await until(() => statuses(raw, stage.name).length === 1, "the first paste is saved");
    raw.send(update(stage.name, textUpdate("b".repeat(6_000))));
    bare.send(update(undefined, textUpdate("c".repeat(6_000))));
    await closedWith(raw, 4413);
    await closedWith(bare, 4413);
    await stage.undisturbed();
    assert.equal(await stage.freshText(), `a${"a".repeat(6_000)}b`);
  });

  it("[LM1] documentBytes: a document that is full can be made smaller and filled again", async (t) => {
    const stage = await openStage(t, { limits: { documentBytes: 10_000 } });
    const ada = stage.provider("ada");
    await saved(ada);
    for (let round = 0; round < 5; round += 1) {
      ada.text.insert(0, "x".repeat(9_000));
      await saved(ada);
      const other = await stage.rawCollab();
      other.send(update(stage.name, textUpdate("y".repeat(2_000))));
      await closedWith(other, 4413);
      ada.text.delete(0, 9_000);
      await saved(ada);
    }
    assert.deepEqual(ada.closes, []);
  });

  it("[LM1] pendingBytes and pendingMessages: too much before the document is open closes 4529", async (t) => {
    const stage = await crowd(t, { pendingBytes: 5_000, pendingMessages: 20 });
    const many = await stage.socket("/collab");
    for (let i = 0; i < 21; i += 1) many.send(step1(stage.name));
    await closedWith(many, 4529);
    const large = await stage.socket("/collab");
    large.send(update(stage.name, textUpdate("x".repeat(5_100))));
    await closedWith(large, 4529);
    const untold = await stage.socket("/collab");
    untold.send(authTokenMessage(stage.name, "mallory"));
    for (let i = 0; i < 30; i += 1) untold.send(update(stage.name, textUpdate("x")));
    await closedWith(untold, 4529);
    await stage.undisturbed();
  });

  it("[LM1] authenticateMs: a socket that opens nothing is closed with 4401", async (t) => {
    const stage = await crowd(t, { authenticateMs: 300 });
    const [silent, talking] = [await stage.socket("/collab"), await stage.socket("/collab")];
    talking.send(step1(stage.name));
    await closedWith(silent, 4401);
    await closedWith(talking, 4401);
    await stage.undisturbed();
  });

  it("[LM1] documentsPerSocket: one more closes 4429", async (t) => {
    const stage = await crowd(t, { documentsPerSocket: 3 });
    const raw = await stage.rawCollab();
    for (let i = 0; i < 2; i += 1) raw.send(authTokenMessage(notesName(), "mallory"));
    await until(() => stage.harness.collab.stats().documents === 3, "three documents");
    assert.equal(raw.closed, undefined);
    raw.send(authTokenMessage(notesName(), "mallory"));
    await closedWith(raw, 4429);
    await stage.undisturbed();
  });

  it("[LM1] sockets: the upgrade of one too many is answered 503", async (t) => {
    const stage = await crowd(t, { sockets: 3 });
    await stage.rawCollab();
    await assert.rejects(refusedUpgrade(stage), /503/);
    await stage.undisturbed();
  });

  it("[LM1] awarenessBytes: a larger state closes its sender with 1009", async (t) => {
    const stage = await crowd(t, { awarenessBytes: 500 });
    const [raw, bare] = [await stage.rawCollab(), await stage.rawYjs()];
    const state = JSON.stringify({ cursor: "x".repeat(600) });
    const large = writePresence([{ client: 99, clock: 1, state }]);
    raw.send(awareness(stage.name, large));
    bare.send(awareness(undefined, large));
    await closedWith(raw, 1009);
    await closedWith(bare, 1009);
    await stage.undisturbed();
  });

  it("[LM1] [LM2] messagesPerSecond: a burst is read more slowly, and nothing of it is lost", async (t) => {
    const stage = await crowd(t, { messagesPerSecond: 100, messageBurst: 40 });
    const carl = stage.provider("carl");
    await saved(carl);
    await type(
      carl,
      Array.from({ length: 150 }, (_, i) => `${i} `),
    );
    await saved(carl);
    assert.deepEqual(carl.closes, []);
    const text = await stage.freshText();
    assert.equal(text, Array.from({ length: 150 }, (_, i) => `${i} `).join(""));
    await stage.undisturbed();
  });

  it("[LM1] [LM2] floodMs: a client that goes on flooding is closed with 4529 and never served faster", async (t) => {
    const stage = await crowd(t, { messagesPerSecond: 50, messageBurst: 20, floodMs: 1_000 });
    const raw = await stage.rawCollab();
    const doc = new Y.Doc();
    doc.on("update", (bytes: Uint8Array) => raw.send(update(stage.name, bytes)));
    for (let i = 0; i < 5_000; i += 1) doc.getText("md").insert(0, `${i} `.padEnd(200));
    await until(() => raw.closed !== undefined, "the flood is ended");
    assert.equal(raw.closed?.code, 4529);
    // 20 at once, 50 a second for 1 s and half a second of sweeping; one read of the socket may hold 200 more.
    const served = statuses(raw, stage.name).length;
    assert.ok(served < 1_500, `${served} of 5000 messages were served`);
    await stage.undisturbed();
    const kept = await stage.freshText();
    assert.ok(kept.length >= served * 200, "what was acknowledged stays");
  });
});

async function refusedUpgrade(stage: Stage): Promise<void> {
  const ws = new WebSocket(`${stage.harness.url}/collab`);
  await new Promise((resolve, reject) => {
    ws.on("open", resolve);
    ws.on("error", reject);
  });
}
