import { isIP } from "node:net";
import type { RedisOptions } from "ioredis";

/** What is to be connected to. Only `shown` may appear in messages and logs. */
export interface RedisAddress {
  readonly options: Pick<RedisOptions, "host" | "port" | "username" | "password" | "db" | "tls">;
  /** Host and port. */
  readonly shown: string;
}

const DEFAULT_PORT = 6379;

/**
 * Reads `redis://[user[:password]@]host[:port][/database]`; `rediss://` is TLS, with the certificates that Node trusts
 * (NODE_EXTRA_CA_CERTS adds an own authority). ioredis would read it too, but takes any query parameter for an option of
 * its own and lets a wrong database through. Throws an Error in one line that holds nothing of the address: who forgets
 * to encode a password has it anywhere in there.
 */
export function parseRedisAddress(url: string): RedisAddress {
  const parsed = URL.parse(url);
  if (parsed === null || parsed.hostname === "" || !/^rediss?:$/.test(parsed.protocol)) {
    throw new Error(
      "must be redis://[user:password@]host[:port][/database], or rediss:// for TLS, with special characters of user and password percent-encoded",
    );
  }
  if (parsed.search !== "" || parsed.hash !== "")
    throw new Error("must not have parameters (a ? or # in a password is written %3F or %23)");
  const database = /^\/?(\d{0,4})$/.exec(parsed.pathname)?.[1];
  if (database === undefined) throw new Error("what follows the host must be / and the number of a database");
  // new URL keeps the brackets of an IPv6 address.
  const host = parsed.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = parsed.port === "" ? DEFAULT_PORT : Number(parsed.port);
  const tls = parsed.protocol === "rediss:" ? { tls: isIP(host) === 0 ? { servername: host } : {} } : {};
  return {
    options: { host, port, ...credentials(parsed), db: Number(database), ...tls },
    shown: `${parsed.hostname}:${port}`,
  };
}

function credentials({ username, password }: URL): Pick<RedisOptions, "username" | "password"> {
  try {
    return {
      ...(username === "" ? {} : { username: decodeURIComponent(username) }),
      ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    };
  } catch {
    throw new Error("has a % in user or password that is not followed by two digits; write it as %25");
  }
}
