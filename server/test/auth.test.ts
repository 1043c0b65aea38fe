import { newId, type TokenPair } from "@scriptorium/shared";
import jwt from "jsonwebtoken";
import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { describe, it } from "node:test";
import { codeOf, injected, PASSWORD } from "./support/injected.ts";

const MINUTE = 60_000;
const DAY = 86_400_000;

/** A clock that is turned by hand. */
function clock(): { now: () => number; pass(ms: number): void } {
  let time = Date.UTC(2026, 10, 21);
  return {
    now: () => time,
    pass: (ms) => {
      time += ms;
    },
  };
}

describe("registering", () => {
  it("answers 201 with the user and tokens, without the password hash", async (t) => {
    const app = await injected(t);
    const answer = await app.call("POST /auth/register", { body: { username: "Ada", password: PASSWORD } });
    assert.equal(answer.status, 201);
    assert.equal(answer.body.expiresIn, 600);
    assert.deepEqual(Object.keys(answer.body.user).toSorted(), [
      "admin",
      "color",
      "createdAt",
      "displayName",
      "id",
      "username",
    ]);
    assert.doesNotMatch(answer.text, /argon2/);
  });

  it("keeps names unique without regard to case and width", async (t) => {
    const app = await injected(t);
    await app.register("Straße");
    for (const username of ["straße", "STRASSE", "Ｓtraße"]) {
      const answer = await app.call("POST /auth/register", { body: { username, password: PASSWORD } });
      assert.equal(codeOf(answer), "username_taken", username);
    }
    for (const name of ["研究者", "नमस्ते", "ไทยดี"])
      assert.equal((await app.register(name)).user.username, name);
  });

  it("shows others no name that is invisible or turns their text round", async (t) => {
    const app = await injected(t);
    const { accessToken: token } = await app.register();
    const rename = async (displayName: string) =>
      (await app.call("PATCH /users/me", { token, body: { displayName } })).status;
    for (const name of ["\u200b", "\u202eada", "a\nb", "a\u0000b", "\ud800x"])
      assert.equal(await rename(name), 400, JSON.stringify(name));
    for (const name of ["Ada King-Lovelace", "李雷", "👩‍🔬 Lab", "مريم", "?"])
      assert.equal(await rename(name), 200, name);
  });

  it("lets one of ten who race for a name have it", async (t) => {
    const app = await injected(t);
    const body = { username: "same", password: PASSWORD };
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => app.call("POST /auth/register", { body })),
    );
    const statuses = answers.map((answer) => answer.status).toSorted((a, b) => a - b);
    assert.deepEqual(statuses, [201, ...Array.from({ length: 9 }, () => 409)]);
  });

  it("makes exactly one of ten first accounts the administrator", async (t) => {
    const app = await injected(t);
    const people = await Promise.all(Array.from({ length: 10 }, () => app.register()));
    const admins = await Promise.all(
      people.map(
        async (person) => (await app.call("GET /users/me", { token: person.accessToken })).body.admin,
      ),
    );
    assert.equal(admins.filter(Boolean).length, 1);
    assert.equal((await app.register()).user.admin, false);
  });

  it("refuses short passwords, odd names and fields that do not exist, by path", async (t) => {
    const app = await injected(t);
    for (const [body, path] of [
      [{ username: "ada", password: "short" }, "body.password"],
      [{ username: "a b", password: PASSWORD }, "body.username"],
      [{ username: "a", password: PASSWORD }, "body.username"],
      [{ username: "ada", password: PASSWORD, admin: true }, "body"],
      [{}, "body.username"],
      [[], "body"],
    ] as const) {
      const answer = await app.call("POST /auth/register", { body });
      assert.equal(codeOf(answer), "bad_request");
      assert.ok(
        answer.body.errors.some((error: { path: string }) => error.path === path),
        answer.text,
      );
    }
  });
});

describe("signing in", () => {
  it("takes the name in any case and says the same for a wrong password and an unknown name", async (t) => {
    const app = await injected(t);
    await app.register("Ada");
    const login = (username: string, password: string) =>
      app.call("POST /auth/login", { body: { username, password } });
    assert.equal((await login("ADA", PASSWORD)).status, 200);
    const wrong = await login("ada", "not the password");
    const unknown = await login("nobody", "not the password");
    assert.equal(codeOf(wrong), "wrong_credentials");
    const { requestId: _one, ...first } = wrong.body;
    const { requestId: _two, ...second } = unknown.body;
    assert.deepEqual(first, second);
  });

  it("slows down guessing for one account from one address, and is free again after the window", async (t) => {
    const app = await injected(t, { env: { AUTH_FAILURES_PER_PAIR: "3", AUTH_LOGIN_WINDOW_SECONDS: "1" } });
    await app.register("ada");
    const guess = () => app.call("POST /auth/login", { body: { username: "Ada", password: "wrong wrong" } });
    const answers = await Promise.all([1, 2, 3, 4, 5].map(guess));
    assert.deepEqual(answers.map(codeOf).toSorted(), [
      "login_limited",
      "login_limited",
      "wrong_credentials",
      "wrong_credentials",
      "wrong_credentials",
    ]);
    const limited = answers.find((answer) => answer.status === 429);
    assert.match(String(limited?.headers["retry-after"]), /^1$/);
    const right = () => app.call("POST /auth/login", { body: { username: "ada", password: PASSWORD } });
    assert.equal(codeOf(await right()), "login_limited");
    const waitMs = Number(limited?.headers["retry-after"]) * 1_000;
    await new Promise((resolve) => setTimeout(resolve, waitMs + 100));
    assert.equal((await right()).status, 200);
  });

  it("does not count what was right", async (t) => {
    const app = await injected(t, { env: { AUTH_FAILURES_PER_PAIR: "2", AUTH_FAILURES_PER_ACCOUNT: "2" } });
    await app.register("ada");
    for (let i = 0; i < 6; i += 1) {
      const answer = await app.call("POST /auth/login", { body: { username: "ada", password: PASSWORD } });
      assert.equal(answer.status, 200);
    }
  });

  it("limits registrations and sign-ins of one address", async (t) => {
    const app = await injected(t, { env: { AUTH_REGISTRATIONS_PER_IP: "2", AUTH_LOGINS_PER_IP: "1" } });
    await app.register();
    await app.register("ada");
    const body = { username: "third", password: PASSWORD };
    assert.equal(codeOf(await app.call("POST /auth/register", { body })), "login_limited");
    const login = { username: "ada", password: PASSWORD };
    assert.equal((await app.call("POST /auth/login", { body: login })).status, 200);
    assert.equal(codeOf(await app.call("POST /auth/login", { body: login })), "login_limited");
  });

  it("answers 503 with Retry-After when too many wait for a hash", async (t) => {
    const app = await injected(t, {
      config: { AUTH_HASH_CONCURRENCY: 1, AUTH_HASH_QUEUE: 2, AUTH_ARGON2_PASSES: 20 },
    });
    const body = (i: number) => ({ username: `crowd-${i}`, password: PASSWORD });
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => app.call("POST /auth/register", { body: body(i) })),
    );
    assert.equal(answers.filter((answer) => answer.status === 201).length, 3);
    const refused = answers.filter((answer) => answer.status === 503);
    assert.equal(refused.length, 5);
    for (const answer of refused) {
      assert.equal(codeOf(answer), "overloaded");
      assert.ok(Number(answer.headers["retry-after"]) > 0);
    }
  });
});

describe("access tokens", () => {
  it("are ES256 by the published key and say who, which session and until when", async (t) => {
    const app = await injected(t);
    const pair = await app.register();
    const jwks = (await app.call("GET //.well-known/jwks.json")).body;
    assert.equal(jwks.keys.length, 1);
    assert.equal(jwks.keys[0].d, undefined);
    const key = createPublicKey({ key: jwks.keys[0], format: "jwk" });
    const decoded = jwt.verify(pair.accessToken, key, { algorithms: ["ES256"], complete: true });
    assert.equal(decoded.header.kid, jwks.keys[0].kid);
    assert.ok(typeof decoded.payload === "object");
    const { typ, sub, exp = 0, iat = 0 } = decoded.payload;
    assert.deepEqual([typ, sub, exp - iat], ["access", pair.user.id, 600]);
  });

  it("end after ten minutes and are told apart from forged ones", async (t) => {
    const time = clock();
    const app = await injected(t, { now: time.now });
    const { accessToken } = await app.register();
    const ask = async (token: string) => codeOf(await app.call("GET /users/me", { token }));
    time.pass(11 * MINUTE);
    assert.equal(await ask(accessToken), "token_expired");
  });

  it("are refused when anything about them is wrong", async (t) => {
    const app = await injected(t);
    const { accessToken, user } = await app.register();
    const [header = "", payload = "", signature = ""] = accessToken.split(".");
    const jwks = (await app.call("GET //.well-known/jwks.json")).body;
    const kid = jwks.keys[0].kid;
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const claims = { typ: "access", sid: newId(), sub: user.id, iss: "scriptorium", aud: "scriptorium" };
    const sign = (fields: object, options: object = {}) =>
      jwt.sign({ ...claims, ...fields }, privateKey, {
        algorithm: "ES256",
        keyid: kid,
        expiresIn: 60,
        ...options,
      });
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const forged = [
      sign({}),
      sign({}, { keyid: newId() }),
      `${encode({ alg: "none", kid })}.${payload}.`,
      `${encode({ alg: "HS256", kid })}.${payload}.${signature}`,
      `${header}.${payload}.${signature.slice(0, 20)}`,
      `${header}.${encode({ ...claims, sub: newId(), exp: 2_000_000_000 })}.${signature}`,
      `${header}.!!!.${signature}`,
      `${header}.${Buffer.from("not json").toString("base64url")}.${signature}`,
      "x".repeat(10_000),
      "a.b.c",
      "",
    ];
    for (const token of forged) {
      const answer = await app.call("GET /users/me", { headers: { authorization: `Bearer ${token}` } });
      assert.equal(codeOf(answer), "unauthenticated", token.slice(0, 60));
      assert.equal(answer.headers["www-authenticate"], "Bearer");
    }
    const basic = await app.call("GET /users/me", { headers: { authorization: "Basic YTpi" } });
    assert.equal(codeOf(basic), "unauthenticated");
    assert.equal(codeOf(await app.call("GET /users/me")), "unauthenticated");
  });
});

describe("refreshing", () => {
  const refresh = (app: Awaited<ReturnType<typeof injected>>, refreshToken: string) =>
    app.call("POST /auth/refresh", { body: { refreshToken } });

  it("gives twenty refreshes of one token at once the same successor", async (t) => {
    const app = await injected(t);
    const { refreshToken } = await app.register();
    const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(app, refreshToken)));
    assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([200]));
    const successors = new Set(answers.map((answer) => answer.body.refreshToken));
    assert.equal(successors.size, 1);
    assert.ok(!successors.has(refreshToken));
  });

  it("ends the session when a token comes back after its grace of a minute", async (t) => {
    const time = clock();
    const app = await injected(t, { now: time.now });
    const first = await app.register();
    const second: TokenPair = (await refresh(app, first.refreshToken)).body;
    time.pass(59_000);
    assert.equal((await refresh(app, first.refreshToken)).body.refreshToken, second.refreshToken);
    time.pass(2_000);
    assert.equal(codeOf(await refresh(app, first.refreshToken)), "session_revoked");
    assert.equal(codeOf(await refresh(app, second.refreshToken)), "session_revoked");
    assert.equal(codeOf(await app.call("GET /users/me", { token: second.accessToken })), "session_revoked");
  });

  it("ends by itself after 30 days without use and after 90 days in any case", async (t) => {
    const time = clock();
    const app = await injected(t, { now: time.now });
    const idle = await app.register();
    let busy = await app.register();
    for (let day = 0; day < 80; day += 20) {
      time.pass(20 * DAY);
      busy = (await refresh(app, busy.refreshToken)).body;
      if (day >= 20) assert.equal(codeOf(await refresh(app, idle.refreshToken)), "token_expired");
    }
    time.pass(11 * DAY);
    assert.equal(codeOf(await refresh(app, busy.refreshToken)), "token_expired");
  });

  it("refuses what it did not make", async (t) => {
    const app = await injected(t);
    const { refreshToken } = await app.register();
    const [family = "", , secret = "", mac = ""] = refreshToken.split(".");
    const forged = [
      `${family}.2.${secret}.${mac}`,
      `${newId()}.1.${secret}.${mac}`,
      `${family}.1.${secret}.`,
      `${family}.1.${secret}.${mac}.x`,
      `${family}.0.${secret}.${mac}`,
      "",
      "....",
    ];
    for (const token of forged) assert.equal(codeOf(await refresh(app, token)), "unauthenticated", token);
    assert.equal((await refresh(app, refreshToken)).status, 200);
  });
});

describe("sessions", () => {
  const login = async (app: Awaited<ReturnType<typeof injected>>, username: string): Promise<TokenPair> => {
    const body = { username, password: PASSWORD };
    return (await app.call("POST /auth/login", { body, headers: { "user-agent": "a phone" } })).body;
  };

  it("are listed with device and address, the own one marked", async (t) => {
    const app = await injected(t);
    const first = await app.register("ada");
    await login(app, "ada");
    const { items, nextCursor } = (await app.call("GET /auth/sessions", { token: first.accessToken })).body;
    assert.deepEqual(
      items.map((session: { current: boolean; device: string }) => [session.current, session.device]),
      [
        [true, "lightMyRequest"],
        [false, "a phone"],
      ],
    );
    assert.equal(items[0].ip, "127.0.0.1");
    assert.equal(nextCursor, null);
  });

  it("end at logout: access and refresh token are refused at once", async (t) => {
    const app = await injected(t);
    const { accessToken, refreshToken } = await app.register();
    assert.equal((await app.call("POST /auth/logout", { token: accessToken })).status, 204);
    assert.equal(codeOf(await app.call("GET /users/me", { token: accessToken })), "session_revoked");
    const again = await app.call("POST /auth/refresh", { body: { refreshToken } });
    assert.equal(codeOf(again), "session_revoked");
  });

  it("can be ended one by one and all but this one, and only by their owner", async (t) => {
    const app = await injected(t);
    const first = await app.register("ada");
    const [second, third] = [await login(app, "ada"), await login(app, "ada")];
    const stranger = await app.register();
    const { items } = (await app.call("GET /auth/sessions", { token: second.accessToken })).body;
    const firstId = items[0].id;
    const end = (token: string, id: string) => app.call(`DELETE /auth/sessions/${id}`, { token });
    assert.equal(codeOf(await end(stranger.accessToken, firstId)), "not_found");
    assert.equal((await end(second.accessToken, firstId)).status, 204);
    assert.equal(codeOf(await app.call("GET /users/me", { token: first.accessToken })), "session_revoked");
    assert.equal((await app.call("DELETE /auth/sessions", { token: second.accessToken })).status, 204);
    assert.equal(codeOf(await app.call("GET /users/me", { token: third.accessToken })), "session_revoked");
    assert.equal((await app.call("GET /users/me", { token: second.accessToken })).status, 200);
    assert.equal((await app.call("GET /auth/sessions", { token: second.accessToken })).body.items.length, 1);
  });
});

describe("changing oneself", () => {
  it("patches what is sent and nothing else", async (t) => {
    const app = await injected(t);
    const { accessToken: token } = await app.register("ada");
    const patch = (body: object) => app.call("PATCH /users/me", { token, body });
    assert.equal((await patch({ displayName: "Ada L." })).body.displayName, "Ada L.");
    const renamed = await patch({ username: "Lovelace", oldPassword: PASSWORD });
    assert.deepEqual([renamed.body.username, renamed.body.displayName], ["Lovelace", "Ada L."]);
    assert.equal((await patch({})).body.username, "Lovelace");
  });

  it("needs the old password for credentials, and a name that is free", async (t) => {
    const app = await injected(t);
    await app.register("taken");
    const { accessToken: token } = await app.register("ada");
    const patch = async (body: object) => codeOf(await app.call("PATCH /users/me", { token, body }));
    assert.equal(await patch({ username: "eve" }), "bad_request");
    assert.equal(await patch({ newPassword: "a new long password" }), "bad_request");
    assert.equal(
      await patch({ newPassword: "a new long password", oldPassword: "wrong" }),
      "wrong_credentials",
    );
    assert.equal(await patch({ username: "TAKEN", oldPassword: PASSWORD }), "username_taken");
  });

  it("ends the other sessions with a new password, keeps this one, and the old password is dead", async (t) => {
    const app = await injected(t);
    const { accessToken: token } = await app.register("ada");
    const body = { username: "ada", password: PASSWORD };
    const other: TokenPair = (await app.call("POST /auth/login", { body })).body;
    const change = { oldPassword: PASSWORD, newPassword: "another long password" };
    assert.equal((await app.call("PATCH /users/me", { token, body: change })).status, 200);
    assert.equal(codeOf(await app.call("GET /users/me", { token: other.accessToken })), "session_revoked");
    assert.equal((await app.call("GET /users/me", { token })).status, 200);
    assert.equal(codeOf(await app.call("POST /auth/login", { body })), "wrong_credentials");
    const fresh = { username: "ada", password: "another long password" };
    assert.equal((await app.call("POST /auth/login", { body: fresh })).status, 200);
  });
});
