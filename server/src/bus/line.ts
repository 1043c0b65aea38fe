import type { Socket } from "node:net";
import { Redis, type RedisOptions } from "ioredis";
import type { RedisAddress } from "./address.ts";
import { explainRedis, isRefusal } from "./reasons.ts";

/** One connection to Redis that is made anew for ever, and on which nothing waits, rejects or throws. */
export interface Line {
  readonly ready: boolean;
  readonly redis: Redis;
  /** Everything written until the end of the turn is one write. */
  gather(): void;
  /** To be called regularly: cuts a connection that owes an answer and has been silent for too long. */
  watch(at: number, owed: boolean): void;
  /** What became of a command. When Redis refused it, the connection is of no use: told, and made anew. */
  failed(error: unknown): void;
  /** Cuts the connection; it is made anew. */
  cut(): void;
  /** The connection proved good: the next time begins with the shortest wait again. */
  proven(): void;
  /** Resolves when nothing is open any more. */
  close(): Promise<void>;
}

export interface LineDeps {
  readonly address: RedisAddress;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  readonly whenReady: () => void;
  readonly whenLost: () => void;
  /** Why a connection failed, in words that are safe to log. */
  readonly whenFailed: (why: string) => void;
  readonly limits: LineLimits;
}

export interface LineLimits {
  /** A connection that owes an answer for this long is made anew. */
  readonly silentMs: number;
  /** Longest wait between two attempts to connect. */
  readonly reconnectMs: number;
}

const FIRST_RECONNECT_MS = 100;
/** How long an ending connection waits for the other side, which a Redis that is stopped does not answer. */
const DISCONNECT_MS = 100;

/** What every connection of ours has in common. Facts about ioredis 6.0.0, read in its source and seen in tests. */
export function redisOptions(address: RedisAddress, name: string) {
  return {
    ...address.options,
    connectionName: name,
    // RESP2. With RESP3, the default of version 6, a HELLO whose AUTH part is refused in certain words is passed over, and
    // the connection goes on in RESP2 while the client reads RESP3: subscriptions would be lost silently. Besides, servers
    // before version 6 repeat the arguments of a HELLO they do not know, password included, in their error.
    protocol: 2,
    // Else commands wait in memory for a connection, without a bound.
    enableOfflineQueue: false,
    // 0: what was sent and not answered is rejected when the connection ends. Otherwise it stays, with its arguments,
    // through that many reconnections, is sent again, or is never settled at all (autoResendUnfulfilledCommands: false).
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // ioredis would subscribe everything by one command whose promise nobody awaits: when the connection ends before the
    // answer it is an unhandled rejection, which ends the process. And nobody is told when it is done.
    autoResubscribe: false,
    // INFO, to wait until the data is loaded. Messages pass before that, and a user that may only publish and subscribe
    // has no right to it.
    enableReadyCheck: false,
    disableClientInfo: true,
    disconnectTimeout: DISCONNECT_MS,
  } satisfies RedisOptions;
}

export function createLine(deps: LineDeps): Line {
  const { limits } = deps;
  let attempts = 0;
  const redis = new Redis({
    ...redisOptions(deps.address, deps.name),
    connectTimeout: limits.silentMs,
    retryStrategy: () => {
      const waitMs = Math.min(FIRST_RECONNECT_MS * 2 ** attempts, limits.reconnectMs);
      attempts += 1;
      // Spread, because all nodes lose a Redis that restarts in the same moment.
      return waitMs * (0.5 + Math.random() / 2);
    },
  });
  redis.on("error", (error: unknown) => deps.whenFailed(explainRedis(error)));
  // ioredis listens for one error of each socket; another one, as TLS may have, would end the process.
  redis.on("connect", () => redis.stream.on("error", () => undefined));
  redis.on("ready", () => deps.whenReady());
  redis.on("close", () => deps.whenLost());

  const silence = createSilence(limits.silentMs);
  let gathering: Socket | undefined;
  return {
    redis,
    get ready() {
      return redis.status === "ready" && redis.stream.writable;
    },
    gather() {
      const { stream } = redis;
      if (gathering === stream) return;
      gathering = stream;
      stream.cork();
      setImmediate(() => {
        stream.uncork();
        if (gathering === stream) gathering = undefined;
      });
    },
    watch(at, owed) {
      // Before it is ready it owes the answers of the handshake, for which ioredis has no limit.
      const waits = redis.status === "connect" || (redis.status === "ready" && owed);
      if (silence.lasts(waits ? redis.stream : undefined, at)) redis.stream.destroy();
    },
    failed(error) {
      // Otherwise the connection has ended, which is told by itself.
      if (!isRefusal(error)) return;
      deps.whenFailed(explainRedis(error));
      streamOf(redis)?.destroy();
    },
    cut: () => void streamOf(redis)?.destroy(),
    proven: () => {
      attempts = 0;
    },
    close: () => endConnection(redis),
  };
}

/** For good. Resolves when nothing is open any more, which takes DISCONNECT_MS at most. */
export async function endConnection(redis: Redis): Promise<void> {
  redis.disconnect();
  const stream = streamOf(redis);
  if (stream !== undefined && !stream.closed) await new Promise((resolve) => stream.once("close", resolve));
}

/** It is undefined until the first connection is under way, whatever its type says. */
function streamOf(redis: Redis): Socket | undefined {
  return redis.stream;
}

/** Tells how long a socket of which bytes are expected has brought none. */
function createSilence(silentMs: number) {
  let socket: Socket | undefined;
  let bytes = 0;
  let since = 0;
  return {
    /** `waiting`: the socket of which bytes are expected now. */
    lasts(waiting: Socket | undefined, at: number): boolean {
      if (waiting === undefined || waiting !== socket || waiting.bytesRead !== bytes) {
        socket = waiting;
        bytes = waiting?.bytesRead ?? 0;
        since = at;
      }
      return waiting !== undefined && at - since >= silentMs;
    },
  };
}
