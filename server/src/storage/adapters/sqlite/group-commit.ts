import type { DatabaseSync } from "node:sqlite";
import type { Answer, Request, StoreError } from "./calls.ts";
import type { Meter } from "./statements.ts";

/** Primary SQLite result codes that come from the machine and not from the statement: perm, busy, locked, nomem,
 * readonly, ioerr, corrupt, full, cantopen, protocol, notadb. The same call may succeed later. */
const ENVIRONMENT = new Set([3, 5, 6, 7, 8, 10, 11, 13, 14, 15, 26]);

export interface GroupCommitDeps<Calls> {
  readonly db: DatabaseSync;
  readonly execute: (request: Request<Calls>) => unknown;
  /** Told that what `execute` has done since the last commit is undone. */
  readonly undone: () => void;
  readonly meter: Meter;
}

export interface GroupCommit<Calls> {
  /** Runs the requests in one transaction and answers for each, in order, when it is durable or has failed. */
  run(requests: readonly Request<Calls>[]): Answer[];
  /** Transactions committed so far. */
  readonly commits: number;
}

/**
 * One durable transaction for everything that waits. Expected outcomes (a taken key) are values and no errors, so the
 * common path needs no savepoints. When a request does throw, the group is undone and each request gets a transaction
 * of its own: one bad request fails alone. When the machine fails (disk full, I/O), all are refused and nothing is kept
 * open, so that the next group starts clean.
 */
export function createGroupCommit<Calls>(deps: GroupCommitDeps<Calls>): GroupCommit<Calls> {
  const { db, execute, undone, meter } = deps;
  const begin = db.prepare("BEGIN IMMEDIATE");
  const commit = db.prepare("COMMIT");
  let commits = 0;

  const attempt = (requests: readonly Request<Calls>[]): Answer[] | StoreError => {
    const bytesBefore = meter.bytes;
    try {
      begin.run();
      const answers = requests.map((request) => ({ id: request.id, value: execute(request) }));
      commit.run();
      commits += 1;
      return answers;
    } catch (error) {
      // Some failures end the transaction by themselves.
      if (db.isTransaction) db.exec("ROLLBACK");
      meter.bytes = bytesBefore;
      undone();
      return toStoreError(error);
    }
  };

  const run = (requests: readonly Request<Calls>[]): Answer[] => {
    const result = attempt(requests);
    if (Array.isArray(result)) return result;
    if (requests.length === 1 || isEnvironment(result)) return refuse(requests, result);
    return requests.flatMap((request) => run([request]));
  };

  return {
    run,
    get commits() {
      return commits;
    },
  };
}

function refuse<Calls>(requests: readonly Request<Calls>[], error: StoreError): Answer[] {
  return requests.map(({ id }) => ({ id, error }));
}

export function toStoreError(error: unknown): StoreError {
  if (!(error instanceof Error)) return { message: String(error), errcode: undefined };
  const errcode = "errcode" in error && typeof error.errcode === "number" ? error.errcode : undefined;
  return { message: error.message, errcode };
}

/** Whether the machine is at fault, so that the same call may succeed later. */
export function isEnvironment(error: StoreError): boolean {
  return error.errcode !== undefined && ENVIRONMENT.has(error.errcode & 0xff);
}
