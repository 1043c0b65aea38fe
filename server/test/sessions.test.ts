import { Failure, newId } from "@scriptorium/shared";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createKeys } from "../src/identity/keys.ts";
import { createRefreshTokens, type RefreshTokens } from "../src/identity/refresh-tokens.ts";
import { createSessions } from "../src/identity/sessions.ts";
import { openMemory } from "../src/storage/adapters/memory/open.ts";
import type { Store } from "../src/storage/store.ts";

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

const CACHE_MS = 1_000;
const HOUR_MS = 3_600_000;

interface NodeOptions {
  readonly onEnded?: (sessionId: string) => Promise<void>;
  readonly clock?: { now: number; steady: number };
  /** Runs before a state that was read is given back. */
  readonly afterReading?: () => Promise<void>;
}

function nodeOn({ streams, open }: Store, options: NodeOptions = {}) {
  const { clock = { now: Date.now(), steady: 0 }, onEnded = async () => undefined, afterReading } = options;
  const now = () => clock.now;
  const keys = createKeys({ streams, now });
  const tokens = createRefreshTokens({ streams, now, mac: (text) => keys.mac(text) });
  const refreshTokens: RefreshTokens = {
    ...tokens,
    state: async (family) => {
      const found = await tokens.state(family);
      await afterReading?.();
      return found;
    },
  };
  const steady = () => clock.steady;
  return createSessions({ open, refreshTokens, now, steady, cacheMs: CACHE_MS, onEnded });
}

const device = (userId = newId()) => ({ userId, device: "a test", ip: "192.0.2.1" });

describe("a session that is ended on another node", () => {
  it("counts as alive here for a bounded time at most, whatever happens to the wall clock", async () => {
    const store = await openMemory();
    const clock = { now: Date.now(), steady: 0 };
    const [here, there] = [nodeOn(store, { clock }), nodeOn(store)];
    const who = device();
    const { sessionId } = await there.open(who);
    assert.equal((await here.state(sessionId)).live, true);
    await there.revoke(who.userId, sessionId);
    clock.steady += CACHE_MS - 1;
    assert.equal((await here.state(sessionId)).live, true, "not asked again yet");
    clock.now -= HOUR_MS;
    clock.steady += 1;
    assert.equal((await here.state(sessionId)).live, false);
  });

  it("is dead here as soon as that is known, also for an answer that is under way", async () => {
    const store = await openMemory();
    const held = Promise.withResolvers<undefined>();
    const here = nodeOn(store, { afterReading: () => held.promise.then(() => undefined) });
    const { sessionId } = await nodeOn(store).open(device());
    const asked = here.state(sessionId);
    // What is being read says that it lives.
    await new Promise(setImmediate);
    here.noteEnded(sessionId);
    held.resolve(undefined);
    assert.equal((await asked).live, false);
    assert.equal((await here.state(sessionId)).live, false);
  });

  it("is asked for anew once everything was forgotten, also when an answer was under way", async () => {
    const store = await openMemory();
    let readings = 0;
    let hold: Promise<unknown> = Promise.resolve();
    const afterReading = async (): Promise<void> => {
      readings += 1;
      await hold;
    };
    const [here, there] = [nodeOn(store, { afterReading }), nodeOn(store)];
    const who = device();
    const [known, asked] = [await there.open(who), await there.open(who)];
    await here.state(known.sessionId);
    const held = Promise.withResolvers<undefined>();
    hold = held.promise;
    const answer = here.state(asked.sessionId);
    await new Promise(setImmediate);
    for (const { sessionId } of [known, asked]) await there.revoke(who.userId, sessionId);
    here.forgetAll();
    held.resolve(undefined);
    await answer;
    assert.equal(readings, 2);
    for (const { sessionId } of [known, asked]) assert.equal((await here.state(sessionId)).live, false);
  });
});

describe("a revocation that could not be told to everybody", () => {
  it("has failed, holds here all the same, and is told again when it is repeated", async () => {
    const store = await openMemory();
    const told: string[] = [];
    let reachable = false;
    const onEnded = async (sessionId: string): Promise<void> => {
      told.push(sessionId);
      if (!reachable) throw new Failure("try_later");
    };
    const sessions = nodeOn(store, { onEnded });
    const who = device();
    const [mine, other] = [await sessions.open(who), await sessions.open(who)];
    await assert.rejects(sessions.revoke(who.userId, other.sessionId), Failure);
    assert.equal((await sessions.state(other.sessionId)).live, false);
    reachable = true;
    await sessions.revoke(who.userId, other.sessionId);
    assert.deepEqual(told, [other.sessionId, other.sessionId]);
    reachable = false;
    const third = await sessions.open(who);
    await assert.rejects(sessions.revokeOthers(who.userId, mine.sessionId), Failure);
    reachable = true;
    await sessions.revokeOthers(who.userId, mine.sessionId);
    assert.deepEqual(told.slice(2), [third.sessionId, third.sessionId]);
    await sessions.revokeOthers(who.userId, mine.sessionId);
    assert.equal(told.length, 4, "and once it is told, no more");
  });
});
