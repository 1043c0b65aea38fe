import { Failure } from "@scriptorium/shared";
import {
  MongoAPIError,
  MongoBulkWriteError,
  MongoClientClosedError,
  MongoError,
  MongoNotConnectedError,
  MongoServerClosedError,
  MongoServerError,
  MongoTopologyClosedError,
} from "mongodb";

const DUPLICATE_KEY = 11_000;

/**
 * Answers that say that our request was wrong, by any server: BadValue, FailedToParse, TypeMismatch, IllegalOperation,
 * CommandNotFound, InvalidOptions, BSONObjectTooLarge. Asking again cannot help; it is a bug.
 */
const OUR_MISTAKE: ReadonlySet<unknown> = new Set([2, 9, 14, 20, 59, 72, 10_334]);

/**
 * What the operating system, Node or TLS says of a connection that has broken. The driver passes it on as it is when
 * that happens during a write.
 */
const BROKEN_SOCKET = /^(E[A-Z]+|ERR_(SSL|TLS|STREAM|SOCKET)_\w+)$/;

/** Not misuse, though the driver files them there: a server left the replica set, or we are closing. */
const CLOSED = [
  MongoServerClosedError,
  MongoTopologyClosedError,
  MongoClientClosedError,
  MongoNotConnectedError,
];

export function isDuplicate(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === DUPLICATE_KEY;
}

/**
 * The places in the batch that were refused because their key exists, when that is all that went wrong. A batch that
 * was also not replicated in time is not told apart row by row: undefined, as for any other error.
 */
export function duplicatesIn(error: unknown): number[] | undefined {
  if (!(error instanceof MongoBulkWriteError)) return undefined;
  const refused = [error.writeErrors].flat();
  const only = refused.length > 0 && refused.every((one) => one.code === DUPLICATE_KEY);
  if (!only || error.result.getWriteConcernError() !== undefined) return undefined;
  return refused.map((one) => one.index);
}

/**
 * What the caller is told. A server that is away, shutting down, electing or out of space is `try_later`: nobody knows
 * whether the write was done, and every write can be repeated. What the driver or the server calls misuse is a bug.
 */
export function toFailure(failed: unknown): unknown {
  const error = causeOf(failed);
  if (error instanceof MongoServerError && OUR_MISTAKE.has(error.code)) {
    return new Error(`the store refused a call: ${error.message}`, { cause: error });
  }
  if (!isOutage(error)) return error;
  // The reason names hosts, which is for the log (by the cause) and not for the client (by the message).
  return new Failure("try_later", "the store cannot do this now", { cause: error });
}

/** The driver wraps whatever ends a batch, our own mistakes too, into an answer of the server. */
function causeOf(error: unknown): unknown {
  const wrapped: unknown = error instanceof MongoBulkWriteError ? error.errorResponse : undefined;
  return wrapped instanceof Error ? wrapped : error;
}

function isOutage(error: unknown): boolean {
  if (error instanceof MongoAPIError) return CLOSED.some((kind) => error instanceof kind);
  return error instanceof MongoError || isBrokenSocket(error);
}

function isBrokenSocket(error: unknown): boolean {
  return error instanceof Error && "code" in error && BROKEN_SOCKET.test(String(error.code));
}
