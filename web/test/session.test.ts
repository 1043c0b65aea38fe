import assert from "node:assert/strict";
import { beforeEach, it } from "node:test";

/** What the client's session needs of a browser: storage of one origin, and a server that answers when told to. */
const kept = new Map<string, string>();
const storage = {
  getItem: (key: string) => kept.get(key) ?? null,
  setItem: (key: string, value: string) => void kept.set(key, value),
  removeItem: (key: string) => void kept.delete(key),
};
Object.assign(globalThis, { localStorage: storage, addEventListener: () => undefined });
const { accessToken, session, signInWith, startSession } = await import("../src/session/session.ts");

const person = (name: string) => ({
  id: name,
  username: name,
  displayName: name,
  color: "#000000",
  admin: false,
  createdAt: "2026-01-01T00:00:00.000Z",
});
const pair = (name: string, n: number, expiresIn = 600) => ({
  user: person(name),
  accessToken: `${name}-access-${n}`,
  refreshToken: `${name}-refresh-${n}`,
  expiresIn,
});

beforeEach(() => kept.clear());

/** A renewal of Ada's tokens, under way until it is answered. */
function renewalOfAda() {
  const asked = Promise.withResolvers<undefined>();
  const answered = Promise.withResolvers<Response>();
  globalThis.fetch = () => {
    asked.resolve(undefined);
    return answered.promise;
  };
  signInWith(pair("ada", 1, 1));
  const token = accessToken();
  return { token, asked: asked.promise, answer: answered.resolve };
}

it("a renewal that is answered after somebody else has signed in here does not bring the first person back", async () => {
  const { token, asked, answer } = renewalOfAda();
  await asked;
  signInWith(pair("bo", 1));
  answer(Response.json(pair("ada", 2)));
  await assert.rejects(token, { code: "unauthenticated" });
  assert.equal(session.value?.user.id, "bo");
  startSession();
  assert.equal(await accessToken(), "bo-access-1");
});

it("a renewal that is refused after somebody else has signed in here does not sign that person out", async () => {
  const { token, asked, answer } = renewalOfAda();
  await asked;
  signInWith(pair("bo", 1));
  const problem = { code: "session_revoked" };
  answer(Response.json(problem, { status: 401, headers: { "content-type": "application/problem+json" } }));
  await assert.rejects(token);
  assert.equal(session.value?.user.id, "bo");
});

it("a renewal that is answered after the person has signed out keeps nothing", async () => {
  const { token, asked, answer } = renewalOfAda();
  await asked;
  kept.clear();
  answer(Response.json(pair("ada", 2)));
  await assert.rejects(token, { code: "unauthenticated" });
  assert.equal(kept.size, 0);
});

it("a renewal that is answered gives the new token", async () => {
  const { token, answer } = renewalOfAda();
  answer(Response.json(pair("ada", 2)));
  assert.equal(await token, "ada-access-2");
});
