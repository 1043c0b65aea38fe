import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { compose, type App } from "./compose.ts";
import { ConfigError, readConfig, type Config } from "./config.ts";
import type { Store } from "./storage/store.ts";
import { openMongo } from "./storage/adapters/mongo/open.ts";
import { openSqlite } from "./storage/adapters/sqlite/open.ts";

/** The process: the only reader of process.*. Logs go to stderr as JSON; stdout says one line, when we are ready. */

const WEB_DIR = fileURLToPath(new URL("../../web/dist", import.meta.url));
/** After DRAIN_MS the process ends whatever is still open. */
const LAST_RESORT_MS = 500;
/** What an operator can mend; told in one line, without a stack. */
const MENDABLE: Readonly<Record<string, string>> = {
  EADDRINUSE: "the address is in use by another program; set PORT",
  EADDRNOTAVAIL: "this machine has no such address; set HOST",
  EACCES: "permission denied; check DATA_DIR and PORT",
  EPERM: "permission denied; check DATA_DIR and PORT",
  EROFS: "the file system is read-only; set DATA_DIR",
  ENOSPC: "no space left on the device of DATA_DIR",
  ENOTDIR: "DATA_DIR is not a directory",
  ENOTFOUND: "the name cannot be resolved; check HOST",
};

async function main(): Promise<void> {
  const config = configure();
  const log = pino({ level: config.LOG_LEVEL, redact: REDACTED }, pino.destination({ dest: 2, sync: true }));
  const die = (error: unknown, message: string) => {
    log.fatal({ err: error }, message);
    process.exit(1);
  };
  process.on("uncaughtException", (error) => die(error, "uncaught exception"));
  process.on("unhandledRejection", (reason) => die(reason, "unhandled rejection"));

  const store = await openStore(config, log);
  const app = await compose(config, { store, log, now: Date.now, webDir: WEB_DIR });
  endOnSignals(app, config, log);
  const { url } = await app.listen();
  process.stdout.write(`Scriptorium is ready at ${url}\n`);
}

/** Whatever keeps the store from opening is the operator's to mend: the address, the disk, the rights, a second server. */
async function openStore(config: Config, log: pino.Logger): Promise<Store> {
  const { MONGODB_URL: url, DATA_DIR: dir } = config;
  const room = log.child({ room: "store" });
  try {
    return await (url === undefined
      ? openSqlite({ dir: resolve(dir), log: room })
      : openMongo({ url, log: room }));
  } catch (error) {
    log.debug({ err: error }, "the store could not be opened");
    const variable = url === undefined ? "DATA_DIR" : "MONGODB_URL";
    throw new ConfigError(`${variable}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

const REDACTED = [
  "token",
  "*.token",
  "password",
  "*.password",
  "authorization",
  "*.authorization",
  "req.url",
];

function configure(): Config {
  if (existsSync(".env")) process.loadEnvFile(".env");
  return readConfig(process.env);
}

function endOnSignals(app: App, config: Config, log: pino.Logger): void {
  let ending = false;
  const end = (signal: NodeJS.Signals) => {
    if (ending) process.exit(1);
    ending = true;
    log.info({ signal }, "draining");
    setTimeout(() => {
      // What was acknowledged is in the store; what was not, its authors still have.
      log.error({ drainMs: config.DRAIN_MS }, "not everything ended in time");
      process.exit(1);
    }, config.DRAIN_MS + LAST_RESORT_MS).unref();
    app.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.fatal({ err: error }, "the end was not orderly");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
}

function explain(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (!(error instanceof Error)) return String(error);
  const says = "code" in error && typeof error.code === "string" ? MENDABLE[error.code] : undefined;
  return says === undefined ? (error.stack ?? error.message) : `${says} (${error.message})`;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`Scriptorium cannot start: ${explain(error)}\n`);
  process.exit(1);
}
