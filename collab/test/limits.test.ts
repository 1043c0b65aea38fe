import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WebSocket } from "ws";
import { notesName, saved, until } from "./support/harness.ts";
import { awareness, statuses, step1, update } from "./support/raw-client.ts";
import { closedWith, crowd } from "./support/crowd.ts";
import { openStage, textUpdate, type Stage } from "./support/stage.ts";
import { writePresence } from "../src/presence.ts";
import { authTokenMessage } from "../src/wire.ts";

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
});

async function refusedUpgrade(stage: Stage): Promise<void> {
  const ws = new WebSocket(`${stage.harness.url}/collab`);
  await new Promise((resolve, reject) => {
    ws.on("open", resolve);
    ws.on("error", reject);
  });
}
