import { newId } from "@scriptorium/shared";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createKeys } from "../src/identity/keys.ts";
import { createRefreshTokens } from "../src/identity/refresh-tokens.ts";
import { createSessions } from "../src/identity/sessions.ts";
import { openMemory } from "../src/storage/adapters/memory/open.ts";

describe("ending all other sessions", () => {
  it("spares none, however many sign-ins raced", async () => {
    const now = Date.now;
    const { streams, open } = await openMemory();
    const keys = createKeys({ streams, now });
    const refreshTokens = createRefreshTokens({ streams, now, mac: (text) => keys.mac(text) });
    const sessions = createSessions({ open, refreshTokens, now, onEnded: async () => undefined });
    const userId = newId();
    const device = { userId, device: "a test", ip: "192.0.2.1" };
    const opened = await Promise.all(Array.from({ length: 250 }, () => sessions.open(device)));
    const [keep, ...others] = opened.map(({ sessionId }) => sessionId);
    assert.ok(keep !== undefined);
    await sessions.revokeOthers(userId, keep);
    const states = await Promise.all(others.map((id) => refreshTokens.state(id)));
    assert.equal(states.filter(({ live }) => live).length, 0);
    assert.deepEqual(
      (await sessions.list(userId)).map(({ id }) => id),
      [keep],
    );
  });
});
