/**
 * Why Redis cannot be used, in words that are safe to log and to print. Errors of ioredis are not: a refused command
 * carries its arguments (`error.command.args`, for AUTH the password), and a server that does not know a command repeats
 * them in its message. So nothing of an error is passed on but codes.
 */

/** Errors of the network and of TLS, by `code`. */
const SAYS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "the name cannot be resolved",
  EAI_AGAIN: "the name cannot be resolved at the moment",
  ETIMEDOUT: "it does not answer",
  EHOSTUNREACH: "there is no way to this host",
  ENETUNREACH: "there is no way to this network",
  ECONNRESET: "it closed the connection",
  EPIPE: "it closed the connection",
  EPROTO: "it does not speak TLS, or another version; is it rediss:// or redis://?",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS; is it redis:// rather than rediss://?",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "it does not speak TLS; is it redis:// rather than rediss://?",
  CERT_HAS_EXPIRED: "its certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is not trusted; see NODE_EXTRA_CA_CERTS",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is not trusted; see NODE_EXTRA_CA_CERTS",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is not trusted; see NODE_EXTRA_CA_CERTS",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is not trusted; see NODE_EXTRA_CA_CERTS",
};

/** What a Redis that is down looks like, or the way to it; a name goes with the container that had it. */
const AWAY: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ECONNRESET",
  "EPIPE",
]);

export function isAway(error: unknown): boolean {
  return error instanceof Error && "code" in error && AWAY.has(error.code);
}

/** Error replies of Redis, by their first word, which is their code. */
const REPLY_SAYS: Readonly<Record<string, string>> = {
  WRONGPASS: "the user or the password is wrong",
  NOAUTH: "it wants a password",
  NOPERM: "this user may not publish and subscribe there; give it +publish +subscribe +unsubscribe &*",
};

const COMMAND_SAYS: Readonly<Record<string, string>> = {
  auth: "it refuses the user or the password",
  select: "it has no database of this number",
};

/** One line, without anything that the address or a command holds. */
export function explainRedis(error: unknown): string {
  if (!(error instanceof Error)) return "it failed without a reason";
  if (isRefusal(error)) return explainReply(error);
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  if (code === undefined) return "it does not answer as a Redis does";
  return `${SAYS[code] ?? "the connection failed"} (${code})`;
}

/** Whether Redis answered with an error, rather than not at all. */
export function isRefusal(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}

function explainReply(error: Error): string {
  const code = /^[A-Z]+(?= |$)/.exec(error.message)?.[0] ?? "ERR";
  const command = "command" in error ? error.command : undefined;
  const name =
    typeof command === "object" && command !== null && "name" in command ? String(command.name) : "";
  return `${REPLY_SAYS[code] ?? COMMAND_SAYS[name] ?? `it refuses the command ${name}`} (${code})`;
}
