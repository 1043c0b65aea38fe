import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as Y from "yjs";
import { crowd } from "./support/crowd.ts";
import { saved, until } from "./support/harness.ts";
import { statuses, update } from "./support/raw-client.ts";
import { type } from "./support/stage.ts";

describe("a client that is too fast", () => {
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
    const stage = await crowd(t, { messagesPerSecond: 200, messageBurst: 1_000, floodMs: 2_500 });
    const raw = await stage.rawCollab();
    const doc = new Y.Doc();
    doc.on("update", (bytes: Uint8Array) => raw.send(update(stage.name, bytes)));
    for (let i = 0; i < 8_000; i += 1) doc.getText("md").insert(0, `${i} `.padEnd(200));
    await until(() => raw.closed !== undefined, "the flood is ended");
    assert.equal(raw.closed?.code, 4529);
    // 1000 at once, 200 a second, and what one read of the socket holds beyond that; all 8000 if it is paused only once.
    const served = statuses(raw, stage.name).length;
    assert.ok(served < 5_000, `${served} of 8000 messages were served`);
    await stage.undisturbed();
    const kept = await stage.freshText();
    assert.ok(kept.length >= served * 200, "what was acknowledged stays");
  });
});
