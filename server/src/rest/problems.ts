import { FAILURES, Failure, Problem, type FailureCode } from "@scriptorium/shared";
import type { FastifyReply, FastifyRequest } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";

/** The one place where an error becomes an answer: RFC 9457 problem documents with a stable code. */

export const PROBLEM_TYPE = "application/problem+json";
/** For the `response` of a route's schema. */
export const PROBLEMS = {
  "4xx": { description: "Refused", content: { [PROBLEM_TYPE]: { schema: Problem } } },
  "5xx": { description: "Failed", content: { [PROBLEM_TYPE]: { schema: Problem } } },
} as const;

/** For a 503 that does not know better. */
const RETRY_AFTER_SECONDS = 1;

/** What Fastify refuses by itself, as codes of ours. */
const BY_STATUS: Readonly<Record<number, FailureCode>> = {
  404: "not_found",
  405: "method_not_allowed",
  413: "payload_too_large",
  415: "unsupported_media_type",
  429: "rate_limited",
  503: "try_later",
};

export function problemOf(error: unknown, requestId?: string): Problem {
  const base = (code: FailureCode): Problem => ({
    type: `urn:scriptorium:problem:${code}`,
    title: FAILURES[code].title,
    status: FAILURES[code].http,
    code,
    ...(requestId === undefined ? {} : { requestId }),
  });
  if (error instanceof Failure) return { ...base(error.code), ...detailOf(error) };
  if (hasZodFastifySchemaValidationErrors(error)) {
    const where = error.validationContext ?? "request";
    const errors = error.validation.map((issue) => ({
      path: `${where}${issue.instancePath.replaceAll("/", ".")}`.replace(/\.$/, ""),
      message: issue.message ?? "is not valid",
    }));
    return { ...base("bad_request"), errors };
  }
  if (!isRefusal(error)) return base("internal");
  return { ...base(BY_STATUS[error.statusCode] ?? "bad_request"), detail: error.message };
}

function detailOf(failure: Failure): { detail?: string } {
  return failure.message === FAILURES[failure.code].title ? {} : { detail: failure.message };
}

/**
 * An error that Fastify or a plugin made about the request: a 4xx status with `FST_…`, with `expose` (made to be shown:
 * an If-Match that fails for a file), or with the code of a client that went away.
 */
function isRefusal(error: unknown): error is Error & { statusCode: number } {
  if (!(error instanceof Error) || !("statusCode" in error)) return false;
  const { statusCode } = error;
  if (typeof statusCode !== "number" || statusCode < 400 || statusCode >= 500) return false;
  if ("expose" in error && error.expose === true) return true;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return code.startsWith("FST_") || code === "ECONNRESET";
}

export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = problemOf(error, request.id);
  if (problem.code === "internal") request.log.error({ err: error }, "request failed");
  const retryAfter = error instanceof Failure ? error.retryAfterSeconds : undefined;
  if (retryAfter !== undefined || problem.status === 503) {
    reply.header("retry-after", String(retryAfter ?? RETRY_AFTER_SECONDS));
  }
  if (problem.status === 401) reply.header("www-authenticate", "Bearer");
  // Serialised here: the route's own schema describes another shape.
  const text = JSON.stringify(problem);
  return reply
    .code(problem.status)
    .header("content-type", PROBLEM_TYPE)
    .serializer(() => text)
    .send(problem);
}
