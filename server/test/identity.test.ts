import { Failure, newId } from "@scriptorium/shared";
import { memoryStreams } from "@scriptorium/shared/testing";
import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { describe, it } from "node:test";
import { createAccessTokens } from "../src/identity/access-tokens.ts";
import { colorOf, PALETTE } from "../src/identity/colors.ts";
import { createKeys } from "../src/identity/keys.ts";
import { networkOf } from "../src/identity/login-limits.ts";
import { createPasswords } from "../src/identity/passwords.ts";
import { createTickets, TICKET_SECONDS } from "../src/identity/tickets.ts";
import { usernameKey } from "../src/identity/users.ts";
import { createOriginCheck } from "../src/origins.ts";
import { openMemory } from "../src/storage/adapters/memory/open.ts";

const CHEAP = { memoryKiB: 64, passes: 1, concurrency: 2, queue: 10 };
const codeOf = (error: unknown) => {
  if (error instanceof Failure) return error.code;
  throw error;
};

describe("passwords", () => {
  it("are stored as argon2id PHC strings at OWASP's floor and verified, whatever the keyboard composed", async () => {
    const passwords = createPasswords({ ...CHEAP, memoryKiB: 19_456, passes: 2 });
    const stored = await passwords.hash("pa\u0308sswort lang");
    assert.match(stored, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    assert.deepEqual(await passwords.verify("p\u00e4sswort lang", stored), { ok: true, outdated: false });
    assert.deepEqual(await passwords.verify("passwort lang", stored), { ok: false, outdated: false });
  });

  it("are asked to be hashed again when the cost has changed", async () => {
    const stored = await createPasswords(CHEAP).hash("a long password");
    const dearer = createPasswords({ ...CHEAP, passes: 2 });
    assert.deepEqual(await dearer.verify("a long password", stored), { ok: true, outdated: true });
  });

  it("cost the same for somebody who does not exist", async () => {
    const passwords = createPasswords({ ...CHEAP, memoryKiB: 4_096, passes: 4 });
    const stored = await passwords.hash("a long password");
    const time = async (hash: string | undefined) => {
      const times: number[] = [];
      for (let i = 0; i < 9; i += 1) {
        const started = performance.now();
        assert.equal((await passwords.verify("a wrong password", hash)).ok, false);
        times.push(performance.now() - started);
      }
      return times.toSorted((a, b) => a - b)[4] ?? 0;
    };
    const [known, unknown] = [await time(stored), await time(undefined)];
    assert.ok(unknown > known / 3 && unknown < known * 3, `${known} ms and ${unknown} ms`);
  });

  it("hand their place on when one fails, and never run more than allowed at once", async () => {
    const passwords = createPasswords({ ...CHEAP, concurrency: 1, queue: 3 });
    const bad = passwords
      .verify("x", "$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA")
      .catch((error: unknown) => error);
    const good = passwords.hash("a long password");
    assert.ok((await bad) instanceof Error);
    assert.match(await good, /^\$argon2id/);
    const rush = await Promise.all(Array.from({ length: 6 }, () => passwords.hash("x").catch(codeOf)));
    assert.equal(rush.filter((result) => result === "overloaded").length, 2);
  });
});

describe("keys", () => {
  it("are one for two nodes that start at once, and survive a restart", async () => {
    const streams = memoryStreams();
    const nodes = [1, 2].map(() => createKeys({ streams, now: Date.now }));
    const signing = await Promise.all(nodes.map((keys) => keys.signing()));
    assert.equal(signing[0]?.kid, signing[1]?.kid);
    const macs = await Promise.all(nodes.map((keys) => keys.mac("text")));
    assert.equal(macs[0], macs[1]);
    const restarted = createKeys({ streams, now: Date.now });
    assert.equal((await restarted.signing()).kid, signing[0]?.kid);
    assert.equal(await restarted.mac("text"), macs[0]);
    createPrivateKey({ key: (await restarted.signing()).privateJwk, format: "jwk" });
  });

  it("rotate: a new one is published before it signs, the old one until its tokens are dead", async () => {
    const streams = memoryStreams();
    const time = { now: 1_000_000_000 };
    const keys = createKeys({ streams, now: () => time.now, steady: () => time.now });
    const tokens = createAccessTokens({ keys, now: () => time.now });
    const who = { userId: newId(), sessionId: newId() };
    const old = await keys.signing();
    const token = await tokens.issue(who);
    // What a rotation appends: another pair that signs in an hour.
    const fresh = createKeys({ streams: memoryStreams(), now: () => time.now });
    const next = { ...(await fresh.signing()), signsFrom: time.now + 3_600_000 };
    await streams.append("keys:signing", { at: 2, entry: next });
    time.now += 60_000;
    assert.deepEqual(
      (await keys.live()).map((key) => key.kid),
      [old.kid, next.kid],
    );
    assert.equal((await keys.signing()).kid, old.kid);
    assert.equal((await tokens.verify(token)).userId, who.userId);
    time.now += 3_600_000;
    assert.equal((await keys.signing()).kid, next.kid);
    assert.deepEqual(
      (await keys.live()).map((key) => key.kid),
      [old.kid, next.kid],
    );
    time.now += 3_600_000;
    assert.deepEqual(
      (await keys.live()).map((key) => key.kid),
      [next.kid],
    );
  });

  it("of another node are found by a token's kid without a restart", async () => {
    const streams = memoryStreams();
    const time = { now: 1_000_000_000 };
    const keys = createKeys({ streams, now: () => time.now, steady: () => time.now });
    await keys.signing();
    const other = await createKeys({ streams: memoryStreams(), now: () => time.now }).signing();
    await streams.append("keys:signing", { at: 2, entry: other });
    assert.equal(await keys.find(other.kid), undefined);
    time.now += 11_000;
    assert.equal((await keys.find(other.kid))?.kid, other.kid);
    assert.equal(await keys.find("nonsense"), undefined);
  });
});

describe("tickets", () => {
  it("are good once, on whichever node, for their minute, and bounded per session", async () => {
    const { open, streams } = await openMemory();
    const time = { now: 1_000_000_000_000 };
    const node = () => {
      const keys = createKeys({ streams, now: () => time.now });
      return createTickets({ open, mac: (text) => keys.mac(text), now: () => time.now });
    };
    const [tickets, other] = [node(), node()];
    const who = { userId: newId(), sessionId: newId() };
    const take = async (ticket: string, by = tickets) => by.take(ticket).catch(codeOf);
    const first = await tickets.issue(who);
    const both = await Promise.all([take(first), take(first, other)]);
    assert.equal(both.filter((outcome) => outcome === "unauthenticated").length, 1);
    assert.equal(await take(first, other), "unauthenticated");
    const elsewhere = await tickets.issue(who);
    assert.deepEqual(await take(elsewhere, other), who);
    const late = await tickets.issue(who);
    const forged = (await tickets.issue(who)).replace(who.userId, newId());
    assert.equal(await take(forged), "unauthenticated");
    for (const nonsense of ["", "tk_", "tk_a.b.c.d.e", `${late}x`])
      assert.equal(await take(nonsense), "unauthenticated");
    time.now += TICKET_SECONDS * 1_000;
    assert.equal(await take(late), "unauthenticated");
    const crowd = { ...who, sessionId: newId() };
    for (let i = 0; i < 200; i += 1) await tickets.issue(crowd);
    await assert.rejects(tickets.issue(crowd), { code: "rate_limited" });
    await tickets.issue(who);
  });

  it("that were used are forgotten after hours, and no sooner", async () => {
    const { open, streams } = await openMemory();
    const time = { now: 1_000_000_000_000 };
    const keys = createKeys({ streams, now: () => time.now });
    const tickets = createTickets({ open, mac: (text) => keys.mac(text), now: () => time.now });
    const used = open({ name: "tickets", unique: [], indexes: [] });
    const takeMany = async () => {
      for (let i = 0; i < 100; i += 1)
        await tickets.take(await tickets.issue({ userId: newId(), sessionId: newId() }));
    };
    await takeMany();
    time.now += 3_600_000;
    await takeMany();
    assert.equal((await used.find({ where: {}, limit: 1_000 })).length, 200);
    time.now += 5.5 * 3_600_000;
    await takeMany();
    assert.equal((await used.find({ where: {}, limit: 1_000 })).length, 200);
  });
});

describe("names, colours, addresses and origins", () => {
  it("have one key for spellings of one name", () => {
    const keys = ["Ada", "ADA", "ａｄａ", " ada "].map(usernameKey);
    assert.deepEqual(new Set(keys), new Set(["ada"]));
    assert.equal(usernameKey("Straße"), usernameKey("STRASSE"));
    assert.notEqual(usernameKey("ada"), usernameKey("adá"));
  });

  it("are readable on light and on dark", () => {
    const channel = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const luminance = (hex: string) => {
      const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) =>
        channel(Number.parseInt(hex.slice(at, at + 2), 16) / 255),
      );
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (a: string, b: string) => {
      const [dark = 0, light = 0] = [luminance(a), luminance(b)].toSorted((x, y) => x - y);
      return (light + 0.05) / (dark + 0.05);
    };
    for (const color of PALETTE) {
      assert.ok(contrast(color, "#ffffff") >= 4.5, `${color} on white: ${contrast(color, "#ffffff")}`);
      assert.ok(contrast(color, "#16181d") >= 3, `${color} on dark: ${contrast(color, "#16181d")}`);
    }
    assert.equal(colorOf("a"), colorOf("a"));
    assert.equal(new Set(Array.from({ length: 400 }, (_, i) => colorOf(String(i)))).size, PALETTE.length);
  });

  it("count one IPv6 network as one address", () => {
    assert.equal(networkOf("192.0.2.1"), "192.0.2.1");
    assert.equal(networkOf("::ffff:192.0.2.1"), "::ffff:192.0.2.1");
    assert.equal(networkOf("2001:db8:1:2:3:4:5:6"), networkOf("2001:db8:1:2::9"));
    assert.notEqual(networkOf("2001:db8:1:2::1"), networkOf("2001:db8:1:3::1"));
    assert.equal(networkOf("::1"), "0:0:0:0");
  });

  it("let pages of the same host and of named addresses in, and programs without an Origin", () => {
    const allows = createOriginCheck({
      publicUrl: "https://papers.example/app",
      allowed: ["https://b.example:8443"],
    });
    assert.equal(allows(undefined, "a.example"), true);
    assert.equal(allows("http://a.example:3200", "A.example:3200"), true);
    assert.equal(allows("https://papers.example", "internal:3200"), true);
    assert.equal(allows("https://b.example:8443", "internal:3200"), true);
    for (const origin of [
      "http://papers.example",
      "https://b.example",
      "null",
      "",
      "https://a.example.evil.example",
    ]) {
      assert.equal(allows(origin, "a.example"), false, origin);
    }
    assert.equal(allows("https://a.example", undefined), false);
  });
});
