import { Failure, type StreamEntry, type Streams } from "@scriptorium/shared";
import { z } from "zod";
import { hashSecret, newSecret, refreshTokenFormat, sameText, type RefreshToken } from "./refresh-token.ts";

/**
 * Refresh tokens of a session ("family"), one live generation at a time. A generation is won by an append, so of many
 * refreshes at once one wins and the others find its successor; token(n) = HMAC(server key, family | n | secret) can be
 * computed again by any node, so nothing secret is stored and a lost answer costs nothing.
 */
export interface RefreshTokens {
  /** Opens the family of a new session: its first token. Throws `session_revoked` when it was ended before it began. */
  open(family: string): Promise<string>;
  /**
   * The one successor of a token. Within REUSE_GRACE_MS of the first exchange the same successor again; later the token
   * counts as stolen: the family ends. Throws `unauthenticated`, `token_expired` or `session_revoked`.
   */
  rotate(token: string): Promise<{ family: string; token: string }>;
  /** Ends the family for good. Idempotent. */
  revoke(family: string): Promise<void>;
  /** What holds for the family now. `until` is its absolute end, Unix ms. */
  state(family: string): Promise<{ live: boolean; until: number }>;
}

export const REUSE_GRACE_MS = 60_000;
/** Without a refresh for this long the session ends. */
export const SLIDING_MS = 30 * 86_400_000;
/** However often it is refreshed, a session ends after this. */
const ABSOLUTE_MS = 90 * 86_400_000;
/** Generations kept; old tokens prove themselves by their MAC, so the rows are only needed for the grace. */
const KEPT_GENERATIONS = 50;
/** Lost races in a row before we say "try later"; each means that somebody else made progress. */
const ATTEMPTS = 50;

const Generation = z.discriminatedUnion("state", [
  z.object({ state: z.literal("live"), at: z.number(), openedAt: z.number(), secretHash: z.string() }),
  z.object({ state: z.literal("revoked"), at: z.number() }),
]);
type Generation = z.infer<typeof Generation>;
type Live = Extract<Generation, { state: "live" }>;

export interface RefreshDeps {
  readonly streams: Streams;
  readonly mac: (text: string) => Promise<string>;
  readonly now: () => number;
}

export function createRefreshTokens(deps: RefreshDeps): RefreshTokens {
  const { streams, now } = deps;
  const format = refreshTokenFormat(deps.mac);
  const head = (family: string) => headOf(streams, family);

  const revoke = async (family: string): Promise<void> => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const last = await head(family);
      if (last?.generation.state === "revoked") return;
      // Also a family that is just being opened: the first position is contended like any other.
      const entry: Generation = { state: "revoked", at: now() };
      const outcome = await streams.append(streamOf(family), { at: (last?.n ?? 0) + 1, entry, op: "revoke" });
      if (outcome !== "taken") return;
    }
    throw new Failure("try_later");
  };

  /** One attempt; false when another refresh won the position meanwhile. */
  const tryRotate = async (shown: RefreshToken): Promise<boolean> => {
    const last = await head(shown.family);
    if (last === undefined) throw new Failure("unauthenticated");
    const live = demandLive(last.generation, now());
    if (!sameText(live.secretHash, hashSecret(shown.secret))) throw new Failure("unauthenticated");
    // Ahead of what is stored: a backup was restored that is older than the token, which only we can have written.
    if (shown.n >= last.n) {
      const entry: StreamEntry = { at: shown.n + 1, entry: { ...live, at: now() } };
      if ((await streams.append(streamOf(shown.family), entry)) !== "ok") return false;
      if (shown.n % KEPT_GENERATIONS === 0) {
        await streams.trim(streamOf(shown.family), shown.n - KEPT_GENERATIONS);
      }
      return true;
    }
    const [successor] = await streams.read(streamOf(shown.family), shown.n + 1, 1);
    if (successor?.at === shown.n + 1 && isFresh(successor, now())) return true;
    await revoke(shown.family);
    throw new Failure("session_revoked", "This refresh token was used before; the session was ended");
  };

  return {
    open: async (family) => {
      const secret = newSecret();
      const entry: Live = { state: "live", at: now(), openedAt: now(), secretHash: hashSecret(secret) };
      if ((await streams.append(streamOf(family), { at: 1, entry })) !== "ok") {
        throw new Failure("session_revoked");
      }
      return format.write({ family, n: 1, secret });
    },
    rotate: async (token) => {
      const shown = await format.read(token);
      if (shown === undefined) throw new Failure("unauthenticated");
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        if (!(await tryRotate(shown))) continue;
        return { family: shown.family, token: await format.write({ ...shown, n: shown.n + 1 }) };
      }
      throw new Failure("try_later");
    },
    revoke,
    state: async (family) => {
      const last = await head(family);
      if (last === undefined || last.generation.state === "revoked") return { live: false, until: 0 };
      const until = last.generation.openedAt + ABSOLUTE_MS;
      return { live: !isOver(last.generation, now()), until };
    },
  };
}

const streamOf = (family: string) => `refresh:${family}`;

async function headOf(streams: Streams, family: string) {
  const entry = await streams.head(streamOf(family));
  return entry === undefined ? undefined : { n: entry.at, generation: Generation.parse(entry.entry) };
}

function isFresh(successor: StreamEntry, nowMs: number): boolean {
  return nowMs - Generation.parse(successor.entry).at <= REUSE_GRACE_MS;
}

function isOver(live: Live, nowMs: number): boolean {
  return nowMs > live.at + SLIDING_MS || nowMs > live.openedAt + ABSOLUTE_MS;
}

function demandLive(generation: Generation, nowMs: number): Live {
  if (generation.state === "revoked") throw new Failure("session_revoked");
  if (isOver(generation, nowMs)) throw new Failure("token_expired", "The session has expired; sign in again");
  return generation;
}
