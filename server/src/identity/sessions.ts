import { Failure, newId } from "@scriptorium/shared";
import type { Collection, Doc, OpenCollection } from "../storage/ports.ts";
import type { RefreshTokens } from "./refresh-tokens.ts";

/** A signed-in device. Whether it is alive is decided by its refresh family; this is what the person sees of it. */
export interface SessionDoc extends Doc {
  readonly userId: string;
  readonly device: string;
  readonly ip: string;
  readonly createdAt: string;
  readonly lastSeenAt: string;
}

export interface Sessions {
  open(who: {
    userId: string;
    device: string;
    ip: string;
  }): Promise<{ sessionId: string; refreshToken: string }>;
  refresh(refreshToken: string): Promise<{ sessionId: string; userId: string; refreshToken: string }>;
  /** The live sessions of a user, oldest first. */
  list(userId: string): Promise<SessionDoc[]>;
  /** Ends one session of the user at once, everywhere. `not_found` for somebody else's. */
  revoke(userId: string, sessionId: string): Promise<void>;
  revokeOthers(userId: string, keep: string): Promise<void>;
  /** Whether the session is alive and until when at most (Unix ms). Cached; a revocation acts at once. */
  state(sessionId: string): Promise<{ live: boolean; until: number }>;
  /** Another node has ended it: from now on it is dead here too. */
  noteEnded(sessionId: string): void;
  /** Others may have been ended unseen: nothing that is known of any counts any more. */
  forgetAll(): void;
}

interface SessionsDeps {
  readonly open: OpenCollection;
  readonly refreshTokens: RefreshTokens;
  readonly now: () => number;
  /** Milliseconds that never jump; by default the process's own. */
  readonly steady?: () => number;
  /** A cached answer may be this old. Where other nodes end sessions too, this bounds what a lost word of it can do. */
  readonly cacheMs?: number;
  /** Told after a session has ended, so that every node refuses it and closes its sockets. Until then it has not. */
  readonly onEnded: (sessionId: string) => Promise<void>;
}

/** Sessions of one user; the oldest makes room. */
const SESSIONS_PER_USER = 50;
const CACHE_MS = 10_000;
const CACHED_SESSIONS = 10_000;
const DEVICE_CHARS = 200;

export function createSessions(deps: SessionsDeps): Sessions {
  const sessions: Collection<SessionDoc> = deps.open({ name: "sessions", unique: [], indexes: [["userId"]] });
  const cache = createStateCache(deps);
  const { refreshTokens } = deps;
  const iso = () => new Date(deps.now()).toISOString();

  const end = async (sessionId: string): Promise<void> => {
    await refreshTokens.revoke(sessionId);
    cache.ended(sessionId);
    // The row goes last: whoever repeats a revocation that was cut short finds it and does all of this again.
    await deps.onEnded(sessionId);
    await sessions.remove(sessionId);
  };
  const ofUser = (userId: string, page: { after?: string } = {}) =>
    sessions.find({ where: { userId }, limit: SESSIONS_PER_USER * 2, ...page });

  return {
    open: async ({ userId, device, ip }) => {
      const sessionId = newId(deps.now());
      const crowd = await ofUser(userId);
      for (const oldest of crowd.slice(0, Math.max(0, crowd.length - SESSIONS_PER_USER + 1)))
        await end(oldest.id);
      const shown = { device: device.slice(0, DEVICE_CHARS), ip, createdAt: iso(), lastSeenAt: iso() };
      await sessions.insert({ id: sessionId, userId, ...shown });
      return { sessionId, refreshToken: await refreshTokens.open(sessionId) };
    },
    refresh: async (refreshToken) => {
      const next = await rotate(refreshToken);
      const session = await sessions.patch(next.family, { lastSeenAt: iso() });
      if (typeof session === "string") throw new Failure("session_revoked");
      return { sessionId: session.id, userId: session.userId, refreshToken: next.token };
    },
    list: async (userId) => {
      const found = await ofUser(userId);
      const states = await Promise.all(found.map((session) => refreshTokens.state(session.id)));
      return found.filter((_session, index) => states[index]?.live === true);
    },
    revoke: async (userId, sessionId) => {
      const session = await sessions.get(sessionId);
      if (session?.userId !== userId) throw new Failure("not_found");
      await end(sessionId);
    },
    revokeOthers: async (userId, keep) => {
      for await (const session of everyOne((page) => ofUser(userId, page)))
        if (session.id !== keep) await end(session.id);
    },
    state: (sessionId) => cache.state(sessionId),
    noteEnded: (sessionId) => cache.ended(sessionId),
    forgetAll: () => cache.clear(),
  };

  /** A replayed token ends its family; then everything else of the session must end with it. */
  async function rotate(refreshToken: string) {
    try {
      return await refreshTokens.rotate(refreshToken);
    } catch (error) {
      const family = refreshToken.split(".")[0] ?? "";
      if (error instanceof Failure && error.code === "session_revoked") await end(family);
      throw error;
    }
  }
}

/** Sign-ins that race may open more sessions than one reading shows. */
async function* everyOne(read: (page: { after?: string }) => Promise<SessionDoc[]>) {
  let batch = await read({});
  for (let last = batch.at(-1); last !== undefined; last = batch.at(-1)) {
    yield* batch;
    batch = await read({ after: last.id });
  }
}

type StateCacheDeps = Pick<SessionsDeps, "refreshTokens" | "now" | "steady" | "cacheMs">;

function createStateCache({ refreshTokens, now, steady, cacheMs = CACHE_MS }: StateCacheDeps) {
  // Ages are measured by a clock that cannot be set back, which would keep an answer for as long as it was set back.
  const nowMs = steady ?? (() => performance.now());
  let cache = new Map<string, { live: boolean; until: number; readAt: number }>();
  const put = (sessionId: string, state: { live: boolean; until: number }) => {
    cache.delete(sessionId);
    cache.set(sessionId, { ...state, readAt: nowMs() });
    const oldest = cache.keys().next();
    if (cache.size > CACHED_SESSIONS && oldest.done !== true) cache.delete(oldest.value);
  };
  return {
    ended: (sessionId: string) => put(sessionId, { live: false, until: 0 }),
    clear: () => {
      cache = new Map();
    },
    state: async (sessionId: string) => {
      const before = cache;
      const known = before.get(sessionId);
      if (known !== undefined && nowMs() - known.readAt < cacheMs) {
        return { live: known.live && now() < known.until, until: known.until };
      }
      const state = await refreshTokens.state(sessionId);
      // Ended while we were reading: what we read may be older than that.
      const meanwhile = cache.get(sessionId);
      if (meanwhile !== undefined && meanwhile !== known) return meanwhile;
      // Forgotten while we were reading: good for this answer, not for the next.
      if (cache === before) put(sessionId, state);
      return state;
    },
  };
}
