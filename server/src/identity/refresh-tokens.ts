import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { Failure, isId, type StreamEntry, type Streams } from "@scriptorium/shared";
import { z } from "zod";

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
export const ABSOLUTE_MS = 90 * 86_400_000;
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

interface Presented {
  readonly family: string;
  readonly n: number;
  readonly secret: string;
  readonly mac: string;
}

export interface RefreshDeps {
  readonly streams: Streams;
  readonly mac: (text: string) => Promise<string>;
  readonly now: () => number;
}

export function createRefreshTokens(deps: RefreshDeps): RefreshTokens {
  const { streams, now } = deps;
  const macOf = (family: string, n: number, secret: string) => deps.mac(`refresh|${family}|${n}|${secret}`);
  const tokenOf = async (family: string, n: number, secret: string) =>
    `${family}.${n}.${secret}.${await macOf(family, n, secret)}`;
  const head = async (family: string) => {
    const entry = await streams.head(streamOf(family));
    return entry === undefined ? undefined : { n: entry.at, generation: Generation.parse(entry.entry) };
  };

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

  /** One attempt; undefined when another node won the position meanwhile. */
  const tryRotate = async (shown: Presented): Promise<"won" | "again" | undefined> => {
    const last = await head(shown.family);
    if (last === undefined) throw new Failure("unauthenticated");
    const live = demandLive(last.generation, now());
    if (!sameText(live.secretHash, hashOf(shown.secret))) throw new Failure("unauthenticated");
    if (last.n === shown.n) {
      const entry: StreamEntry = { at: last.n + 1, entry: { ...live, at: now() } };
      return (await streams.append(streamOf(shown.family), entry)) === "ok" ? "won" : undefined;
    }
    const [successor] = await streams.read(streamOf(shown.family), shown.n + 1, 1);
    const fresh =
      successor?.at === shown.n + 1 && now() - Generation.parse(successor.entry).at <= REUSE_GRACE_MS;
    if (fresh) return "again";
    await revoke(shown.family);
    throw new Failure("session_revoked", "This refresh token was used before; the session was ended");
  };

  return {
    open: async (family) => {
      const secret = randomBytes(16).toString("base64url");
      const entry: Live = { state: "live", at: now(), openedAt: now(), secretHash: hashOf(secret) };
      if ((await streams.append(streamOf(family), { at: 1, entry })) !== "ok")
        throw new Failure("session_revoked");
      return tokenOf(family, 1, secret);
    },
    rotate: async (token) => {
      const shown = parse(token);
      const genuine =
        shown !== undefined && sameText(shown.mac, await macOf(shown.family, shown.n, shown.secret));
      if (!genuine) throw new Failure("unauthenticated");
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const outcome = await tryRotate(shown);
        if (outcome === undefined) continue;
        if (outcome === "won" && shown.n % KEPT_GENERATIONS === 0) {
          await streams.trim(streamOf(shown.family), shown.n - KEPT_GENERATIONS);
        }
        return { family: shown.family, token: await tokenOf(shown.family, shown.n + 1, shown.secret) };
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
const hashOf = (secret: string) => createHash("sha256").update(secret).digest("base64url");

function sameText(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function isOver(live: Live, nowMs: number): boolean {
  return nowMs > live.at + SLIDING_MS || nowMs > live.openedAt + ABSOLUTE_MS;
}

function demandLive(generation: Generation, nowMs: number): Live {
  if (generation.state === "revoked") throw new Failure("session_revoked");
  if (isOver(generation, nowMs)) throw new Failure("token_expired", "The session has expired; sign in again");
  return generation;
}

function parse(token: string): Presented | undefined {
  const [family = "", n = "", secret = "", mac = "", ...rest] = token.split(".");
  if (!isId(family) || !/^[1-9]\d{0,8}$/.test(n) || secret === "" || mac === "" || rest.length > 0)
    return undefined;
  return { family, n: Number(n), secret, mac };
}
