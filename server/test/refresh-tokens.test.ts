import { Failure, newId } from "@scriptorium/shared";
import { memoryStreams } from "@scriptorium/shared/testing";
import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createKeys } from "../src/identity/keys.ts";
import { createRefreshTokens, REUSE_GRACE_MS, SLIDING_MS } from "../src/identity/refresh-tokens.ts";

type Step =
  | { readonly type: "refresh"; readonly token: number; readonly node: 0 | 1 }
  | { readonly type: "burst"; readonly token: number }
  | { readonly type: "pass"; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("refresh" as const),
      token: fc.nat(30),
      node: fc.constantFrom(0, 1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("burst" as const), token: fc.nat(30) }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 90_000 }) }),
  },
);

/** Two nodes over one store, and a clock. */
function nodes() {
  const streams = memoryStreams();
  const time = { now: 1_000_000 };
  const node = () => {
    const keys = createKeys({ streams, now: () => time.now });
    return createRefreshTokens({ streams, mac: (text) => keys.mac(text), now: () => time.now });
  };
  return { time, streams, both: [node(), node()] as const };
}

const codeOf = (error: unknown) => {
  if (error instanceof Failure) return error.code;
  throw error;
};

describe("refresh families", () => {
  it("have a single successor per token, forgive a retry for a minute and end at a later reuse", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { time, both } = nodes();
        const family = newId();
        // The model: tokens in order, when each was exchanged, whether the family has ended.
        const tokens = [await both[0].open(family)];
        const exchangedAt: number[] = [];
        let ended = false;
        const expected = (index: number) => {
          if (ended) return "session_revoked";
          const at = exchangedAt[index];
          if (at === undefined || time.now - at <= REUSE_GRACE_MS) return "ok";
          ended = true;
          return "session_revoked";
        };
        const refresh = async (index: number, node: 0 | 1) => {
          const says = await both[node].rotate(tokens[index] ?? "").catch(codeOf);
          return typeof says === "string" ? { code: says } : { code: "ok", token: says.token };
        };
        for (const each of steps) {
          if (each.type === "pass") {
            time.now += each.ms;
            continue;
          }
          const index = each.token % tokens.length;
          const model = expected(index);
          const results =
            each.type === "burst"
              ? await Promise.all(([0, 1, 0, 1, 0] as const).map((node) => refresh(index, node)))
              : [await refresh(index, each.node)];
          for (const result of results) assert.equal(result.code, model);
          if (model !== "ok") continue;
          const successors = new Set(results.map((result) => result.token));
          assert.equal(successors.size, 1);
          const [successor = ""] = successors;
          exchangedAt[index] ??= time.now;
          tokens[index + 1] ??= successor;
          assert.equal(tokens[index + 1], successor);
        }
        assert.equal((await both[1].state(family)).live, !ended);
      }),
      { numRuns: 150 },
    );
  });

  it("stay ended when revocation races with refreshes", async () => {
    for (let round = 0; round < 20; round += 1) {
      const { both } = nodes();
      const family = newId();
      const token = await both[0].open(family);
      const refresh = (node: 0 | 1) => both[node].rotate(token).catch(codeOf);
      await Promise.all([refresh(0), both[1].revoke(family), refresh(1), refresh(0)]);
      assert.equal(await refresh(1), "session_revoked");
      assert.equal((await both[0].state(family)).live, false);
    }
  });

  it("cannot be opened after they were ended", async () => {
    const { both } = nodes();
    const family = newId();
    await both[0].revoke(family);
    assert.equal(await both[1].open(family).catch(codeOf), "session_revoked");
  });

  it("keep a bounded history and still know an old token for a reuse", async () => {
    const { both, time } = nodes();
    const first = await both[0].open(newId());
    let token = first;
    for (let i = 0; i < 120; i += 1) {
      token = (await both[0].rotate(token)).token;
      time.now += 1_000;
    }
    assert.equal(await both[1].rotate(first).catch(codeOf), "session_revoked");
    assert.equal(await both[1].rotate(token).catch(codeOf), "session_revoked");
  });

  it("go on with the newest token after an older backup was restored, and still end when an older one is reused", async () => {
    const { both, time, streams } = nodes();
    const family = newId();
    const tokens = [await both[0].open(family)];
    const backup = await streams.read(`refresh:${family}`, 1, 10);
    const secret = await streams.read("keys:secret", 1, 1);
    for (let i = 0; i < 5; i += 1) {
      time.now += REUSE_GRACE_MS + 1;
      tokens.push((await both[0].rotate(tokens.at(-1) ?? "")).token);
    }
    const later = nodes();
    later.time.now = time.now;
    for (const entry of secret) await later.streams.append("keys:secret", entry);
    for (const entry of backup) await later.streams.append(`refresh:${family}`, entry);
    const [one, two] = later.both;
    const next = (await one.rotate(tokens[5] ?? "")).token;
    // A retry, and of a race.
    assert.equal((await two.rotate(tokens[5] ?? "")).token, next);
    assert.equal((await two.state(family)).live, true);
    assert.equal(await one.rotate(tokens[2] ?? "").catch(codeOf), "session_revoked");
    assert.equal(await two.rotate(next).catch(codeOf), "session_revoked");
  });

  it("end when nobody refreshes for 30 days", async () => {
    const { both, time } = nodes();
    const token = await both[0].open(newId());
    time.now += SLIDING_MS + 1;
    assert.equal(await both[0].rotate(token).catch(codeOf), "token_expired");
  });
});
