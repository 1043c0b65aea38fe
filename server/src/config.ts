import { z } from "zod";

/**
 * The environment, in one place: every variable, its check and its default. `.env.example` repeats it with reasons and
 * a test keeps the two equal. Defaults of COLLAB_* live in the collaboration room (`DEFAULT_LIMITS`).
 */

const ROLES = ["api", "collab", "terminal"] as const;

const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, "must be a whole number")
    .transform(Number)
    .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));
const port = integer(0, 65_535);
const count = integer(1, 1_000_000);
const bytes = integer(1024, 1024 ** 3);
const list = z.string().transform((value) =>
  value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== ""),
);
const origin = z.url({ protocol: /^https?$/, error: "must be an http or https address" });

const Variables = z.object({
  HOST: z.string().default("127.0.0.1"),
  PORT: port.default(3200),
  DATA_DIR: z.string().default("./data"),
  ROLES: list
    .pipe(z.array(z.enum(ROLES, `may only name ${ROLES.join(", ")}`)).min(1, "names no role"))
    .default([...ROLES]),
  MONGODB_URL: z
    .string()
    .regex(/^mongodb(\+srv)?:\/\/./, "must be a mongodb:// or mongodb+srv:// address")
    .optional(),
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\/./, "must be a redis:// or rediss:// address")
    .optional(),
  LOG_LEVEL: z.enum(["silent", "fatal", "error", "warn", "info", "debug", "trace"]).default("info"),
  PUBLIC_URL: origin.optional(),
  ALLOWED_ORIGINS: list.pipe(z.array(origin)).default([]),
  TRUST_PROXY: list.pipe(z.array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]))).default([]),
  DRAIN_MS: integer(100, 600_000).default(10_000),
  REST_BODY_BYTES: bytes.default(512 * 1024),
  AUTH_HASH_CONCURRENCY: integer(1, 64).default(2),
  AUTH_HASH_QUEUE: integer(0, 10_000).default(64),
  AUTH_ARGON2_MEMORY_KIB: integer(19_456, 1_048_576).default(19_456),
  AUTH_ARGON2_PASSES: integer(2, 100).default(2),
  AUTH_REGISTRATIONS_PER_IP: count.default(60),
  AUTH_LOGINS_PER_IP: count.default(100),
  AUTH_FAILURES_PER_ACCOUNT: count.default(30),
  AUTH_FAILURES_PER_PAIR: count.default(10),
  AUTH_LOGIN_WINDOW_SECONDS: integer(1, 86_400).default(900),
  COLLAB_MESSAGE_BYTES: bytes.optional(),
  COLLAB_DOCUMENT_BYTES: bytes.optional(),
  COLLAB_CLIENT_BUFFER_BYTES: bytes.optional(),
  COLLAB_UNCOMMITTED_BYTES: bytes.optional(),
  COLLAB_SOCKETS: count.optional(),
  COLLAB_MESSAGES_PER_SECOND: count.optional(),
  COLLAB_MESSAGE_BURST: count.optional(),
});

/** Two servers on two SQLite files would not be two nodes of one, whatever Redis they share. */
export const Environment = Variables.refine(
  ({ REDIS_URL, MONGODB_URL }) => REDIS_URL === undefined || MONGODB_URL !== undefined,
  {
    path: ["REDIS_URL"],
    error: "joins several nodes, which needs MONGODB_URL; unset it for one process on SQLite",
  },
);
export type Config = z.output<typeof Environment>;

/** Variables that begin like this are ours, so one that the schema does not know is a mistake of spelling. */
const OWN_PREFIXES = ["AUTH_", "COLLAB_", "REST_", "SCRIPTORIUM_"];

/** A start that the operator can mend: the message is one line and names the variable. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Reads the configuration from `process.env`-shaped values; an empty value counts as not set. Throws ConfigError. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const known = new Set(Object.keys(Environment.shape));
  for (const name of Object.keys(env)) {
    if (!known.has(name) && OWN_PREFIXES.some((prefix) => name.startsWith(prefix))) {
      throw new ConfigError(`${name}: there is no such setting; .env.example lists them all`);
    }
  }
  const set = Object.fromEntries(
    [...known]
      .map((name) => [name, env[name]?.trim()])
      .filter(([, value]) => value !== undefined && value !== ""),
  );
  const result = Environment.safeParse(set);
  if (result.success) return result.data;
  const says = result.error.issues.map((issue) => `${String(issue.path[0])}: ${issue.message}`);
  throw new ConfigError([...new Set(says)].join("; "));
}
