import { Failure, type PatchMe, type TokenPair, type User } from "@scriptorium/shared";
import { ACCESS_TOKEN_SECONDS, type AccessTokens } from "./access-tokens.ts";
import { sent } from "../fields.ts";
import type { LoginLimits } from "./login-limits.ts";
import type { Passwords } from "./passwords.ts";
import type { Sessions } from "./sessions.ts";
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

export interface AccountsDeps {
  readonly users: Users;
  readonly sessions: Sessions;
  readonly passwords: Passwords;
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

  const signIn = async (user: UserDoc, password: string, from: Origin): Promise<TokenPair> => {
    await users.claimAdministration(user.id);
    const session = await sessions.open({ userId: user.id, ...from });
    // A password change ends the sessions it can see; one that was opened with the old password meanwhile ends here.
    const hash = (await users.get(user.id))?.passwordHash;
    if (hash === user.passwordHash) return tokens(user, session);
    // Another hash may be the same password: another sign-in has renewed it.
    if ((await passwords.verify(password, hash)).ok) return tokens(user, session);
    await sessions.revoke(user.id, session.sessionId);
    throw new Failure("wrong_credentials");
  };

  return {
    register: async ({ username, password }, from) => {
      await loginLimits.registration(from.ip);
      // Looked up first so that a taken name costs no hash; the insert decides.
      if ((await users.byName(username)) !== undefined) throw new Failure("username_taken");
      const user = await users.create({ username, passwordHash: await passwords.hash(password) });
      return signIn(user, password, from);
    },
    login: async ({ username, password }, from) => {
      const who = { ip: from.ip, account: usernameKey(username) };
      const user = await loginLimits.attempt(who, async () =>
        checkPassword(deps, await users.byName(username), password),
      );
      return signIn(user, password, from);
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
    patchMe: async (caller, { oldPassword, newPassword, ...fields }) => {
      const user = await ownerOf(users, caller.userId);
      if (fields.username !== undefined || newPassword !== undefined) {
        const who = { ip: caller.ip, account: user.usernameKey };
        await loginLimits.attempt(who, async () =>
          checkChange(deps, user, { oldPassword: oldPassword ?? "", newPassword }),
        );
      }
      const hash = newPassword === undefined ? {} : { passwordHash: await passwords.hash(newPassword) };
      const patched = await users.patch(user.id, { ...sent(fields), ...hash });
      if (newPassword !== undefined) await sessions.revokeOthers(user.id, caller.sessionId);
      return users.present(patched);
    },
  };
}

/** The user of a session; without an account there is no session. */
async function ownerOf(users: Users, userId: string): Promise<UserDoc> {
  const user = await users.get(userId);
  if (user === undefined) throw new Failure("session_revoked");
  return user;
}

/** As checkPassword; a change of the password that was cut short after it was stored may be repeated as it was. */
async function checkChange(
  deps: Pick<AccountsDeps, "users" | "passwords">,
  user: UserDoc,
  { oldPassword, newPassword }: { oldPassword: string; newPassword: string | undefined },
): Promise<void> {
  try {
    await checkPassword(deps, user, oldPassword);
  } catch (error) {
    const wrong = error instanceof Failure && error.code === "wrong_credentials";
    if (!wrong || newPassword === undefined) throw error;
    if (!(await deps.passwords.verify(newPassword, user.passwordHash)).ok) throw error;
  }
}

/** The user whose password this is; the hash is renewed when the cost has changed since it was made. */
async function checkPassword(
  { users, passwords }: Pick<AccountsDeps, "users" | "passwords">,
  user: UserDoc | undefined,
  password: string,
): Promise<UserDoc> {
  const { ok, outdated } = await passwords.verify(password, user?.passwordHash);
  if (!ok || user === undefined) throw new Failure("wrong_credentials");
  if (!outdated) return user;
  const passwordHash = await passwords.hash(password);
  // Hashing takes its time: a new password that was set meanwhile must stay.
  const unchanged = (await users.get(user.id))?.passwordHash === user.passwordHash;
  return unchanged ? users.patch(user.id, { passwordHash }) : user;
}
