/**
 * Every failure a client can see, in one place: the stable code, its HTTP status and its WebSocket close code.
 *
 * Close codes follow one rule: 4400-4499 do not reconnect, 4500-4599 reconnect with backoff. The standard codes
 * 1009 (too big), 1011 (bug), 1012 (restart) and 1013 (try later) keep their meaning. A transient failure is never
 * reported as a denial, so nothing below 4500 may be used for "the store is down".
 */
export const FAILURES = {
  bad_request: { http: 400, close: 4400, title: "The request is not valid" },
  unauthenticated: { http: 401, close: 4401, title: "Sign in first" },
  token_expired: { http: 401, close: 4401, title: "The access token has expired" },
  wrong_credentials: { http: 401, close: 4401, title: "Wrong user name or password" },
  session_revoked: { http: 401, close: 4401, title: "This session was ended" },
  forbidden: { http: 403, close: 4403, title: "You may not do this" },
  not_found: { http: 404, close: 4404, title: "There is no such thing, or you may not see it" },
  method_not_allowed: { http: 405, close: 4400, title: "This method is not supported here" },
  conflict: { http: 409, close: 4409, title: "The state has changed meanwhile" },
  username_taken: { http: 409, close: 4409, title: "This user name is taken" },
  already_member: { http: 409, close: 4409, title: "This person is a member already" },
  last_owner: { http: 409, close: 4409, title: "A project needs an owner" },
  document_replaced: { http: 409, close: 4410, title: "The document was replaced; reload it" },
  document_deleted: { http: 410, close: 4404, title: "The document was deleted" },
  payload_too_large: { http: 413, close: 1009, title: "The message is too big" },
  document_too_large: { http: 413, close: 4413, title: "The document has reached its size limit" },
  unsupported_media_type: { http: 415, close: 4400, title: "The content type is not supported" },
  too_many_documents: { http: 429, close: 4429, title: "Too many documents on one connection" },
  login_limited: { http: 429, close: 4529, title: "Too many attempts; wait and try again" },
  rate_limited: { http: 429, close: 4529, title: "Too many requests; slow down" },
  slow_consumer: { http: 503, close: 4508, title: "The connection reads too slowly" },
  idle_timeout: { http: 408, close: 4504, title: "No sign of life from the client" },
  overloaded: { http: 503, close: 1013, title: "The server is busy; try again later" },
  try_later: { http: 503, close: 1013, title: "Temporarily unavailable; try again later" },
  restarting: { http: 503, close: 1012, title: "The server is restarting" },
  internal: { http: 500, close: 1011, title: "Something went wrong on our side" },
} as const;

export type FailureCode = keyof typeof FAILURES;

/** A refusal that a client can cause. Turned once, at the edge, into an HTTP status or a close code by FAILURES. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly code: FailureCode;
  /** When it makes sense to try again; becomes the Retry-After header. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: FailureCode, detail?: string, options?: ErrorOptions & { retryAfterSeconds?: number }) {
    super(detail ?? FAILURES[code].title, options);
    this.code = code;
    this.retryAfterSeconds = options?.retryAfterSeconds;
  }
}

export function isFailureCode(value: string): value is FailureCode {
  return Object.hasOwn(FAILURES, value);
}

/** Whether a client that sees this close code should connect again by itself. */
export function shouldReconnect(closeCode: number): boolean {
  return closeCode < 4400 || closeCode >= 4500;
}
