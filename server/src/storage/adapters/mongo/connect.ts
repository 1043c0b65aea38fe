import { MongoClient, MongoParseError, MongoServerError, MongoServerSelectionError, type Db } from "mongodb";
import { WAKING } from "./waking-connection.ts";

export interface ConnectLimits {
  /** Connections to each server; operations beyond wait for one. */
  readonly connections: number;
  /** Wait for a server that can take the operation, and for a connection to it. */
  readonly selectMs: number;
  readonly connectMs: number;
  /** A connection that is silent for so long in the middle of an operation is given up. */
  readonly socketMs: number;
  /** How often each server is asked how it is. One that does not say so within connectMs takes no operations until it does. */
  readonly heartbeatMs: number;
  /** And at the soonest, while operations wait for one that can take them. */
  readonly recheckMs: number;
  /** Longest that a start may wait for all of the above, and for names to be resolved, which nothing else bounds. */
  readonly startMs: number;
}

export interface Connection {
  readonly client: MongoClient;
  readonly db: Db;
  /** A replica set or a router in front of some. */
  readonly replicated: boolean;
  /** The server's wall clock, ms since 1970, where it tells it. */
  readonly clock: number | undefined;
}

/** Where the connection string names no database; the driver's own default is "test". */
const DATABASE = "scriptorium";
const UNAUTHORIZED: ReadonlySet<unknown> = new Set([13, 18, 8000]);

/** Rejects with what an operator can mend, in one line, without a user name or password. */
export async function connect(url: string, limits: ConnectLimits): Promise<Connection> {
  const client = createClient(url, limits);
  try {
    await inTime(client.connect(), limits.startMs);
    const db = /^[^:]+:\/\/[^/]+\/[^?]/.test(url) ? client.db() : client.db(DATABASE);
    const hello = await db.admin().command({ hello: 1 });
    // Asks for what only a signed-in user may: some servers check no password before.
    await db.collection("meta").findOne({}, { projection: { _id: 1 } });
    const replicated = typeof hello["setName"] === "string" || hello["msg"] === "isdbgrid";
    const clock: unknown = hello["localTime"];
    return { client, db, replicated, clock: clock instanceof Date ? clock.getTime() : undefined };
  } catch (error) {
    const hosts = client.options.srvHost ?? client.options.hosts.map(String).join(", ");
    await client.close();
    throw new Error(withoutSecrets(reasonOf(error, hosts), url), { cause: error });
  }
}

function createClient(url: string, limits: ConnectLimits): MongoClient {
  try {
    return new MongoClient(url, {
      appName: "scriptorium",
      maxPoolSize: limits.connections,
      waitQueueTimeoutMS: limits.selectMs,
      serverSelectionTimeoutMS: limits.selectMs,
      connectTimeoutMS: limits.connectMs,
      socketTimeoutMS: limits.socketMs,
      heartbeatFrequencyMS: limits.heartbeatMs,
      minHeartbeatFrequencyMS: limits.recheckMs,
      ...WAKING,
    });
  } catch (error) {
    // The driver's message repeats the whole address, unless it is about an option. No cause, for the same reason.
    const about =
      error instanceof MongoParseError && /^options? /.test(error.message) ? `: ${error.message}` : "";
    // oxlint-disable-next-line preserve-caught-error
    throw new Error(
      withoutSecrets(
        `is not a MongoDB address (mongodb://host/database, names and passwords escaped)${about}`,
        url,
      ),
    );
  }
}

async function inTime(connecting: Promise<unknown>, startMs: number): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`nothing for ${startMs} ms`)), startMs);
  try {
    await Promise.race([connecting, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function reasonOf(error: unknown, hosts: string): string {
  // One line, whatever OpenSSL and others put into theirs.
  const says = (tlsReasonOf(error) ?? (error instanceof Error ? error.message : String(error))).replaceAll(
    /\s+/g,
    " ",
  );
  if (error instanceof MongoServerError && UNAUTHORIZED.has(error.code)) {
    return `${hosts} refuses this user or password (${says})`;
  }
  const tooSlow = error instanceof MongoServerSelectionError && says.startsWith("Server selection timed out");
  return `no MongoDB server answers at ${hosts}${tooSlow ? "" : ` (${says})`}; is it running, and the address right?`;
}

/** What OpenSSL says, without where in its source it says so. */
function tlsReasonOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const tls = "code" in error && String(error.code).startsWith("ERR_SSL_") && "reason" in error;
  return tls ? `TLS: ${String(error.reason)}` : tlsReasonOf(error.cause);
}

/** Whatever a message quotes of the address, its user and password are not part of it. */
function withoutSecrets(message: string, url: string): string {
  const [, user = ""] = /^[^:]+:\/\/(.*)@/.exec(url) ?? [];
  const secrets = [user, ...user.split(":")].flatMap((secret) => [secret, unescaped(secret)]);
  return secrets
    .filter((secret) => secret !== "")
    .reduce((text, secret) => text.replaceAll(secret, "***"), message);
}

function unescaped(secret: string): string {
  try {
    return decodeURIComponent(secret);
  } catch {
    // Not escaped as it should be; then it stands in messages as it is.
    return secret;
  }
}
