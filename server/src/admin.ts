import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { createCompactor, type Log } from "@scriptorium/collab";
import { Failure } from "@scriptorium/shared";
import { backUp } from "./admin/backup.ts";
import { openBackup } from "./admin/backup-file.ts";
import { HELP, mongoAddress, readCommand, Usage, type Command } from "./admin/command.ts";
import { move } from "./admin/move.ts";
import { Refused } from "./admin/refused.ts";
import { restore } from "./admin/restore.ts";
import { describeTotals } from "./admin/tally.ts";
import { createWatch } from "./admin/watch.ts";
import { openInstallation } from "./cluster/installation.ts";
import { ConfigError, readConfig, type Config } from "./config.ts";
import { openMongoHolding, openMongoTarget } from "./storage/adapters/mongo/holding.ts";
import { openSqliteCopy, openSqliteHolding, openSqliteTarget } from "./storage/adapters/sqlite/holding.ts";
import { noteMove } from "./storage/adapters/sqlite/moved.ts";
import type { Target } from "./storage/archive.ts";

/** The process of `npm run admin`: progress goes to stderr, what came of it to stdout. Exit codes: 1 failed, 2 not understood. */

/** A second signal ends at once; the first lets what was begun be cleaned up. */
const watch = createWatch({
  tell: (line) => void process.stderr.write(`${line}\n`),
  steady: () => performance.now(),
});

/** What a store has to say while it is opened comes again as the reason why it could not be. */
const log: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

async function run(command: Command): Promise<void> {
  switch (command.name) {
    case "help":
      return say(HELP);
    case "backup":
      return backupTo(resolve(command.file), configure());
    case "check":
      return checkBackup(resolve(command.file));
    case "restore":
      return restoreFrom(resolve(command.file), configure(), command);
    case "move": {
      const config = configure();
      return moveTo(command.to ?? mongoAddress(process.env["MOVE_TO"], "--to or MOVE_TO"), config);
    }
  }
}

function configure(): Config {
  if (existsSync(".env")) process.loadEnvFile(".env");
  return readConfig(process.env);
}

async function backupTo(path: string, { MONGODB_URL: url, DATA_DIR }: Config): Promise<void> {
  const dir = resolve(DATA_DIR);
  const { totals, bytes } = await backUp(path, {
    open: (into) =>
      url === undefined
        ? mending("DATA_DIR", openSqliteCopy({ dir, into, log }))
        : mending("MONGODB_URL", openMongoHolding({ url, log })),
    store: url === undefined ? "SQLite" : "MongoDB",
    now: Date.now,
    watch,
  });
  say(`${path} holds ${describeTotals(totals)} in ${megabytes(bytes)}.\n`);
}

async function checkBackup(path: string): Promise<void> {
  const backup = await openBackup(path);
  try {
    for await (const _ of watch(backup.pieces(), "checking"));
    const { begun, store } = backup.header;
    say(
      `${path} is whole: ${describeTotals(backup.totals)}, from ${store} at ${begun}, ${megabytes(backup.bytes)}.\n`,
    );
  } finally {
    await backup.close();
  }
}

async function restoreFrom(
  path: string,
  { MONGODB_URL: url, DATA_DIR }: Config,
  options: { readonly signEveryoneOut: boolean },
): Promise<void> {
  const compactor = createCompactor();
  try {
    const { header, totals, parked } = await restore(
      path,
      {
        open: (source): Promise<Target> =>
          url === undefined
            ? mending("DATA_DIR", openSqliteTarget({ dir: resolve(DATA_DIR), log }))
            : mending("MONGODB_URL", openMongoTarget({ url, log, claim: { by: "restore", source } })),
        compactor,
        now: Date.now,
        watch,
      },
      options,
    );
    say(`Restored ${describeTotals(totals)}, as of ${header.begun}. The server can be started.\n`);
    if (parked.length > 0)
      say(`An update that waited for one that never came was left out of: ${parked.join(", ")}\n`);
  } finally {
    await compactor.stop();
  }
}

async function moveTo(to: string, { MONGODB_URL, DATA_DIR }: Config): Promise<void> {
  if (MONGODB_URL !== undefined)
    throw new Refused(
      "MONGODB_URL is set: this installation is on MongoDB already; unset it to move DATA_DIR",
    );
  const dir = resolve(DATA_DIR);
  const source = await mending("DATA_DIR", openSqliteHolding({ dir, log }));
  try {
    const totals = await move({
      source,
      installation: (await openInstallation(source.store.streams, Date.now)).id,
      open: (id) =>
        mending(
          "the address to move to",
          openMongoTarget({ url: to, log, claim: { by: "move", source: id } }),
        ),
      watch,
      onMoved: async () => noteMove(dir, { to: withoutSecrets(to), at: new Date().toISOString() }),
    });
    say(
      `Moved ${describeTotals(totals)} to ${withoutSecrets(to)}, compared thing by thing and document by document.\n` +
        `Set MONGODB_URL to it and start the server. What was in ${dir} is still there, and is not served any more.\n`,
    );
  } finally {
    await source.close();
  }
}

function withoutSecrets(url: string): string {
  return url.replace(/\/\/[^/]*@/, "//").replace(/\?.*$/, "");
}

/** Whatever keeps a store from opening is the operator's to mend, where `by` says. */
async function mending<T>(by: string, opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (error) {
    throw new ConfigError(`${by}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function say(text: string): void {
  process.stdout.write(text);
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const known = error instanceof Refused || error instanceof ConfigError || error instanceof Failure;
  // A file that cannot be read or written: Node's message names it.
  const ofTheMachine = "syscall" in error || ("code" in error && error.code === "ERR_SQLITE_ERROR");
  return known || ofTheMachine ? error.message : (error.stack ?? error.message);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    watch.interrupt();
    process.once(signal, () => process.exit(1));
  });
}
try {
  await run(readCommand(process.argv.slice(2)));
} catch (error) {
  process.exitCode = error instanceof Usage ? 2 : 1;
  process.stderr.write(error instanceof Usage ? `${error.message}\n\n${HELP}` : `${explain(error)}\n`);
}
