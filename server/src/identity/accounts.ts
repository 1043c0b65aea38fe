import { Failure, type PatchMe, type TokenPair, type User } from "@scriptorium/shared";
import { ACCESS_TOKEN_SECONDS, type AccessTokens } from "./access-tokens.ts";
import { sent } from "../fields.ts";
import type { LoginLimits } from "./login-limits.ts";
import type { Passwords } from "./passwords.ts";
import type { Sessions } from "./sessions.ts";
import type { StoredPassword, StoredPasswords } from "./stored-passwords.ts";
import { usernameKey, type UserDoc, type Users } from "./users.ts";

/** Where a request comes from, for the session list and the limits. */
export interface Origin {
  readonly ip: string;
  readonly device: string;
}

/** The person behind a request. */
export interface Caller {
  readonly userId: string;
  readonly sessionId: string;
  /** When the access token ends, Unix ms. */
  readonly expiresAt: number;
}

export interface Accounts {
  register(account: { username: string; password: string }, from: Origin): Promise<TokenPair>;
  login(account: { username: string; password: string }, from: Origin): Promise<TokenPair>;
  refresh(refreshToken: string): Promise<TokenPair>;
  /** Throws `unauthenticated`, `token_expired` or `session_revoked`. */
  authenticate(accessToken: string): Promise<Caller>;
  me(userId: string): Promise<User>;
  patchMe(caller: Caller & { ip: string }, change: PatchMe): Promise<User>;
}

/** A password that was right when it was shown, and what was stored for it then. */
interface ShownPassword {
  readonly password: string;
  readonly stored: StoredPassword;
}

export interface AccountsDeps {
  readonly users: Users;
  readonly sessions: Sessions;
  readonly passwords: Passwords;
  readonly stored: StoredPasswords;
  readonly accessTokens: AccessTokens;
  readonly loginLimits: LoginLimits;
}

export function createAccounts(deps: AccountsDeps): Accounts {
  const { users, sessions, passwords, accessTokens, loginLimits } = deps;

  const tokens = async (
    user: UserDoc,
    session: { sessionId: string; refreshToken: string },
  ): Promise<TokenPair> => ({
    user: users.present(user),
    accessToken: await accessTokens.issue({ userId: user.id, sessionId: session.sessionId }),
    refreshToken: session.refreshToken,
    expiresIn: ACCESS_TOKEN_SECONDS,
  });

  const signIn = async (user: UserDoc, shown: ShownPassword, from: Origin): Promise<TokenPair> => {
    await users.claimAdministration(user.id);
    const session = await sessions.open({ userId: user.id, ...from });
    // A password change ends the sessions it can see; one that was opened with the old password meanwhile ends here.
    const { hash, version } = await deps.stored.of(user);
    if (version === shown.stored.version) return tokens(user, session);
    // Another hash may be the same password: another sign-in has renewed it.
    if ((await passwords.verify(shown.password, hash)).ok) return tokens(user, session);
    await sessions.revoke(user.id, session.sessionId);
    throw new Failure("wrong_credentials");
  };

  return {
    register: async ({ username, password }, from) => {
      await loginLimits.registration(from.ip);
      // Looked up first so that a taken name costs no hash; the insert decides.
      if ((await users.byName(username)) !== undefined) throw new Failure("username_taken");
      const user = await users.create({ username, passwordHash: await passwords.hash(password) });
      return signIn(user, { password, stored: await deps.stored.of(user) }, from);
    },
    login: async ({ username, password }, from) => {
      const who = { ip: from.ip, account: usernameKey(username) };
      const { user, stored } = await loginLimits.attempt(who, async () => {
        const named = await users.byName(username);
        return { user: named, stored: await checkPassword(deps, named, password) };
      });
      if (user === undefined) throw new Failure("wrong_credentials");
      return signIn(user, { password, stored }, from);
    },
    refresh: async (refreshToken) => {
      const session = await sessions.refresh(refreshToken);
      return tokens(await ownerOf(users, session.userId), session);
    },
    authenticate: async (accessToken) => {
      const claims = await accessTokens.verify(accessToken);
      const { live } = await sessions.state(claims.sessionId);
      if (!live) throw new Failure("session_revoked");
      return claims;
    },
    me: async (userId) => users.present(await ownerOf(users, userId)),
    patchMe: async (caller, change) => users.present(await patchAccount(deps, caller, change)),
  };
}

async function patchAccount(
  deps: AccountsDeps,
  caller: Caller & { ip: string },
  { oldPassword, newPassword, ...fields }: PatchMe,
): Promise<UserDoc> {
  const { users, sessions, loginLimits } = deps;
  const user = await ownerOf(users, caller.userId);
  const changes = fields.username !== undefined || newPassword !== undefined;
  const check = () =>
    loginLimits.attempt({ ip: caller.ip, account: user.usernameKey }, () =>
      checkChange(deps, user, { oldPassword: oldPassword ?? "", newPassword }),
    );
  const shown = changes ? await check() : undefined;
  const patched = await users.patch(user.id, sent(fields));
  if (newPassword === undefined || shown === undefined) return patched;
  await setPassword(deps, user, { newPassword, shown, check });
  await sessions.revokeOthers(user.id, caller.sessionId);
  return patched;
}

/** Taken: a sign-in has renewed the hash meanwhile, or somebody else has changed the password; asking again tells. */
async function setPassword(
  { passwords, stored }: Pick<AccountsDeps, "passwords" | "stored">,
  user: UserDoc,
  change: { newPassword: string; shown: StoredPassword; check: () => Promise<StoredPassword> },
): Promise<void> {
  const hash = await passwords.hash(change.newPassword);
  if ((await stored.replace(user.id, { hash, after: change.shown })) === "ok") return;
  const after = await change.check();
  if ((await stored.replace(user.id, { hash, after })) === "taken") throw new Failure("try_later");
}

/** The user of a session; without an account there is no session. */
async function ownerOf(users: Users, userId: string): Promise<UserDoc> {
  const user = await users.get(userId);
  if (user === undefined) throw new Failure("session_revoked");
  return user;
}

/** As checkPassword; a change of the password that was cut short after it was stored may be repeated as it was. */
async function checkChange(
  deps: Pick<AccountsDeps, "stored" | "passwords">,
  user: UserDoc,
  { oldPassword, newPassword }: { oldPassword: string; newPassword: string | undefined },
): Promise<StoredPassword> {
  try {
    return await checkPassword(deps, user, oldPassword);
  } catch (error) {
    const wrong = error instanceof Failure && error.code === "wrong_credentials";
    if (!wrong || newPassword === undefined) throw error;
    const found = await deps.stored.of(user);
    if (!(await deps.passwords.verify(newPassword, found.hash)).ok) throw error;
    return found;
  }
}

/** What is stored for the password, if it is this one; the hash is renewed when the cost has changed since it was made. */
async function checkPassword(
  { stored, passwords }: Pick<AccountsDeps, "stored" | "passwords">,
  user: UserDoc | undefined,
  password: string,
): Promise<StoredPassword> {
  const found = user && (await stored.of(user));
  const { ok, outdated } = await passwords.verify(password, found?.hash);
  if (!ok || user === undefined || found === undefined) throw new Failure("wrong_credentials");
  if (!outdated) return found;
  const renewed = { hash: await passwords.hash(password), version: found.version + 1 };
  // Hashing takes its time: what was set meanwhile stays.
  return (await stored.replace(user.id, { hash: renewed.hash, after: found })) === "ok" ? renewed : found;
}
