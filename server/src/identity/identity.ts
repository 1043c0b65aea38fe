import type { Streams } from "@scriptorium/shared";
import type { OpenCollection } from "../storage/ports.ts";
import { createAccessTokens } from "./access-tokens.ts";
import { createAccounts, type Accounts } from "./accounts.ts";
import { createKeys, type Keys } from "./keys.ts";
import { createLoginLimits, type LoginLimitNumbers } from "./login-limits.ts";
import { createPasswords, type PasswordCost } from "./passwords.ts";
import { createRefreshTokens } from "./refresh-tokens.ts";
import { createSessions, type Sessions } from "./sessions.ts";
import { createStoredPasswords } from "./stored-passwords.ts";
import { createTickets, type Tickets } from "./tickets.ts";
import { createUsers, type Users } from "./users.ts";

export interface Identity {
  readonly accounts: Accounts;
  readonly keys: Keys;
  readonly sessions: Sessions;
  readonly tickets: Tickets;
  readonly users: Users;
}

export interface IdentityDeps {
  readonly streams: Streams;
  readonly open: OpenCollection;
  readonly now: () => number;
  readonly passwordCost: PasswordCost;
  readonly loginLimits: LoginLimitNumbers;
  readonly onSessionEnded: (sessionId: string) => Promise<void>;
  /** How long a session may be taken for alive without asking; see SessionsDeps. */
  readonly sessionCacheMs?: number;
  readonly steady?: () => number;
}

/** The parts of identity, put together. */
export async function createIdentity(deps: IdentityDeps): Promise<Identity> {
  const { streams, open, now } = deps;
  const steady = deps.steady ?? (() => performance.now());
  const keys = createKeys({ streams, now, steady });
  const refreshTokens = createRefreshTokens({ streams, now, mac: (text) => keys.mac(text) });
  const sessions = createSessions({
    open,
    refreshTokens,
    now,
    steady,
    onEnded: deps.onSessionEnded,
    ...(deps.sessionCacheMs === undefined ? {} : { cacheMs: deps.sessionCacheMs }),
  });
  const users = await createUsers({ open, streams, now });
  const accounts = createAccounts({
    users,
    sessions,
    passwords: createPasswords(deps.passwordCost),
    stored: createStoredPasswords({ streams, now }),
    accessTokens: createAccessTokens({ keys, now }),
    loginLimits: createLoginLimits(deps.loginLimits),
  });
  const tickets = createTickets({ open, mac: (text) => keys.mac(text), now });
  return { accounts, keys, sessions, tickets, users };
}
