import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createAccessTokens } from "../src/identity/access-tokens.ts";
import { createAccounts } from "../src/identity/accounts.ts";
import { createKeys } from "../src/identity/keys.ts";
import { createLoginLimits } from "../src/identity/login-limits.ts";
import { createPasswords, type Passwords } from "../src/identity/passwords.ts";
import { createRefreshTokens } from "../src/identity/refresh-tokens.ts";
import { createSessions } from "../src/identity/sessions.ts";
import { createStoredPasswords } from "../src/identity/stored-passwords.ts";
import { createUsers } from "../src/identity/users.ts";
import { openMemory } from "../src/storage/adapters/memory/open.ts";

const HOME = { ip: "192.0.2.1", device: "a test" };
const OLD = "the old password";
const NEW = "the new password";
const LIMITS = {
  windowSeconds: 60,
  registrationsPerIp: 100,
  loginsPerIp: 100,
  failuresPerAccount: 100,
  failuresPerPair: 100,
};

/** An account made at another cost than `passwords` has now, so that the next sign-in renews its hash. */
async function accountsWith(passwords: Passwords) {
  const now = Date.now;
  const { streams, open } = await openMemory();
  const keys = createKeys({ streams, now });
  const users = await createUsers({ open, streams, now });
  const sessions = createSessions({
    open,
    refreshTokens: createRefreshTokens({ streams, now, mac: (text) => keys.mac(text) }),
    now,
    onEnded: async () => undefined,
  });
  const shared = {
    users,
    sessions,
    accessTokens: createAccessTokens({ keys, now }),
    loginLimits: createLoginLimits(LIMITS),
    stored: createStoredPasswords({ streams, now }),
  };
  const before = createAccounts({ ...shared, passwords: cheap(1) });
  await before.register({ username: "ada", password: OLD }, HOME);
  return createAccounts({ ...shared, passwords });
}

const cheap = (passes: number) => createPasswords({ memoryKiB: 64, passes, concurrency: 8, queue: 100 });
const login = (password: string) => [{ username: "ada", password }, HOME] as const;

/** Two sign-ins that both find the hash outdated; the first is held while it makes the new one. */
async function twoAtOnce() {
  const passwords = cheap(2);
  const begun = Promise.withResolvers<undefined>();
  const held = Promise.withResolvers<undefined>();
  let renewals = 0;
  const hash = async (password: string) => {
    const made = await passwords.hash(password);
    if (password !== OLD || (renewals += 1) > 1) return made;
    begun.resolve(undefined);
    await held.promise;
    return made;
  };
  const accounts = await accountsWith({ ...passwords, hash });
  const first = accounts.login(...login(OLD));
  await begun.promise;
  const second = await accounts.login(...login(OLD));
  return { accounts, first, second, release: () => held.resolve(undefined) };
}

describe("a password hash that is renewed at sign-in", () => {
  it("is renewed by one of two devices, and both are in", async () => {
    const { first, second, release } = await twoAtOnce();
    release();
    assert.equal((await first).user.id, second.user.id);
  });

  it("does not bring back the old password when a new one was set meanwhile", async () => {
    const { accounts, first, second, release } = await twoAtOnce();
    const owner = await accounts.authenticate(second.accessToken);
    await accounts.patchMe({ ...owner, ip: HOME.ip }, { oldPassword: OLD, newPassword: NEW });
    release();
    await assert.rejects(first, { code: "wrong_credentials" });
    await assert.rejects(accounts.login(...login(OLD)), { code: "wrong_credentials" });
    assert.equal((await accounts.login(...login(NEW))).user.username, "ada");
  });
});
