import { Redis } from "ioredis";
import { parseRedisAddress, type RedisAddress } from "./address.ts";
import { endConnection, redisOptions } from "./line.ts";
import { explainRedis, isAway } from "./reasons.ts";

export interface RedisCheck {
  readonly url: string;
  /** As for the bus: a user's rights may end at certain channels. */
  readonly prefix: string;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 5_000;

/** Nobody is there, or nobody answers: which may be an address that is wrong, or a Redis that will be back. */
export class RedisAway extends Error {
  override readonly name = "RedisAway";
}

/**
 * Whether a Redis answers there and lets us publish and subscribe. Rejects with an Error of one line that an operator can
 * act on and that holds nothing secret; the name of the variable is the caller's to put in front. With RedisAway when it
 * cannot be told from a Redis that is down.
 */
export async function checkRedis({ url, prefix, timeoutMs = TIMEOUT_MS }: RedisCheck): Promise<void> {
  const address = parseRedisAddress(url);
  const redis = new Redis({
    ...redisOptions(address, "scriptorium-check"),
    connectTimeout: timeoutMs,
    retryStrategy: () => null,
    lazyConnect: true,
  });
  // Why a connection failed is told by this event; connect() itself only says that it is closed.
  let told: unknown;
  redis.on("error", (error: unknown) => (told ??= error));
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const bound = setTimeout(resolve, timeoutMs, "late");
  try {
    // Tried by doing it; publishing first, because a connection that has subscribed may do nothing else.
    const tried = tryOut(redis, `${prefix}check`);
    const ending = await Promise.race([tried, late]);
    if (ending === "late") throw new RedisAway(failure(address, silence(address)));
    const error = told ?? ending.error;
    // No cause: the errors of ioredis hold the password.
    const says = failure(address, explainRedis(error));
    if (error !== undefined) throw isAway(error) ? new RedisAway(says) : new Error(says);
  } finally {
    clearTimeout(bound);
    await endConnection(redis);
  }
}

/** Never rejects, also when nobody waits for it any more. */
async function tryOut(redis: Redis, channel: string): Promise<{ readonly error?: unknown }> {
  try {
    await redis.connect();
    await redis.publish(channel, "");
    await redis.subscribe(channel);
    return {};
  } catch (error) {
    return { error };
  }
}

function failure(address: RedisAddress, why: string): string {
  return `Redis at ${address.shown} cannot be used: ${why}`;
}

/** A Redis without TLS that is spoken to in TLS waits for the rest of what it takes for a command. */
function silence({ options }: RedisAddress): string {
  const wanted = options.tls === undefined ? "without TLS (else rediss://)" : "with TLS (else redis://)";
  return `it does not answer; is it a Redis ${wanted}?`;
}
