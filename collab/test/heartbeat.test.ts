import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { until } from "./support/harness.ts";
import { openStage } from "./support/stage.ts";

describe("an idle client", () => {
  it("[WP5] hears from the server in its own dialect, alone as it is, and keeps its connection", async (t) => {
    const stage = await openStage(t, { limits: { heartbeatMs: 300, silenceMs: 1_500 } });
    const raw = await stage.rawCollab("ada");
    const bare = await stage.rawYjs("bo");
    const [addressed, plain] = [raw.messages.length, bare.messages.length];
    await until(
      () => raw.messages.length >= addressed + 4 && bare.messages.length >= plain + 4,
      "four beats",
    );
    // Hocuspocus' ping, and an awareness update of nobody, the smallest message that y-websocket counts as life.
    assert.deepEqual(raw.messages.slice(addressed, addressed + 2), [Uint8Array.of(9), Uint8Array.of(9)]);
    assert.deepEqual(bare.messages.slice(plain, plain + 2), [Uint8Array.of(1, 1, 0), Uint8Array.of(1, 1, 0)]);
    assert.deepEqual([raw.closed, bare.closed], [undefined, undefined]);
  });

  it("[WP5] both libraries take the beats for life and answer without harm", async (t) => {
    const stage = await openStage(t, { limits: { heartbeatMs: 100, silenceMs: 1_500 } });
    const ada = stage.provider("ada", { name: stage.name });
    const bo = stage.yjs("bo");
    await until(() => ada.provider.isSynced && bo.provider.synced, "synced");
    const before = [ada.socket.lastMessageReceived, bo.provider.wsLastMessageReceived];
    await until(() => ada.socket.lastMessageReceived > (before[0] ?? 0) + 1_000, "ada hears");
    await until(() => bo.provider.wsLastMessageReceived > (before[1] ?? 0) + 1_000, "bo hears");
    assert.deepEqual([...ada.closes, ...bo.closes], []);
    assert.equal(stage.harness.collab.stats().refusedFrames, 0);
  });

  it("[LM1] silenceMs: a socket that answers nothing, not even a ping, is closed with 4504", async (t) => {
    const stage = await openStage(t, { limits: { heartbeatMs: 200, silenceMs: 600 } });
    const alive = await stage.rawYjs("bo");
    const dead = await stage.tcp(`/yjs/${encodeURIComponent(stage.name)}?token=eve`);
    await until(() => dead.closeCode !== undefined, "closed");
    assert.equal(dead.closeCode, 4504);
    assert.equal(alive.closed, undefined);
  });
});
