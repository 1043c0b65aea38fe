import { Failure } from "@scriptorium/shared";
import { MongoAPIError, MongoBulkWriteError, MongoError, MongoServerError } from "mongodb";

const DUPLICATE_KEY = 11_000;

/**
 * Answers that say that our request was wrong, by any server: BadValue, FailedToParse, TypeMismatch, IllegalOperation,
 * CommandNotFound, InvalidOptions, BSONObjectTooLarge. Asking again cannot help; it is a bug.
 */
const OUR_MISTAKE: ReadonlySet<unknown> = new Set([2, 9, 14, 20, 59, 72, 10_334]);

/** What Node says when a connection breaks. The driver passes it on as it is when a write finds its socket ended. */
const BROKEN_SOCKET: ReadonlySet<unknown> = new Set([
  "EPIPE",
  "ECONNRESET",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_WRITE_AFTER_END",
  "ERR_SOCKET_CLOSED",
]);

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
export function toFailure(error: unknown): unknown {
  if (!isBrokenSocket(error) && (!(error instanceof MongoError) || error instanceof MongoAPIError))
    return error;
  if (error instanceof MongoServerError && OUR_MISTAKE.has(error.code)) {
    return new Error(`the store refused a call: ${error.message}`, { cause: error });
  }
  // The reason names hosts, which is for the log (by the cause) and not for the client (by the message).
  return new Failure("try_later", "the store cannot do this now", { cause: error });
}

function isBrokenSocket(error: unknown): boolean {
  return error instanceof Error && "code" in error && BROKEN_SOCKET.has(error.code);
}
