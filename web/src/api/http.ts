import { isFailureCode, type FailureCode, type Problem } from "@scriptorium/shared";

/** A refusal by the server, or `offline` when it could not be asked at all. */
export class ApiFailure extends Error {
  override readonly name = "ApiFailure";
  readonly code: FailureCode | "offline";
  /** For bad_request: what is wrong, by field name. */
  readonly fields: ReadonlyMap<string, string>;

  constructor(code: FailureCode | "offline", fields: ReadonlyMap<string, string> = new Map()) {
    super(code);
    this.code = code;
    this.fields = fields;
  }

  /** The credentials are no longer good, as opposed to: they could not be checked. */
  get signedOut(): boolean {
    return (
      this.code === "unauthenticated" || this.code === "token_expired" || this.code === "session_revoked"
    );
  }
}

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** Under /api/v1, with a leading slash. */
  readonly path: string;
  readonly body?: unknown;
  readonly token?: string;
  /** Lets the request outlive the page. */
  readonly keepalive?: boolean;
}

function codeOfStatus(status: number): FailureCode {
  if (status === 401) return "unauthenticated";
  if (status === 403) return "forbidden";
  if (status === 404) return "not_found";
  if (status === 429) return "rate_limited";
  return status >= 502 ? "try_later" : "internal";
}

async function failureOf(response: Response): Promise<ApiFailure> {
  const text = await response.text();
  if (!(response.headers.get("content-type") ?? "").includes("json")) {
    return new ApiFailure(codeOfStatus(response.status));
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the server sends is typed by shared/
  const problem = JSON.parse(text) as Partial<Problem>;
  const code =
    problem.code !== undefined && isFailureCode(problem.code) ? problem.code : codeOfStatus(response.status);
  return new ApiFailure(code, new Map((problem.errors ?? []).map((error) => [error.path, error.message])));
}

/** Sends one request. The answer's shape is the contract of shared/protocol/rest.ts; throws ApiFailure. */
export async function send<Answer>(request: ApiRequest): Promise<Answer> {
  const headers = new Headers({ accept: "application/json" });
  if (request.token !== undefined) headers.set("authorization", `Bearer ${request.token}`);
  if (request.body !== undefined) headers.set("content-type", "application/json");
  const response = await fetch(`/api/v1${request.path}`, {
    method: request.method,
    headers,
    keepalive: request.keepalive ?? false,
    ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
  }).catch((error: unknown) => {
    if (error instanceof TypeError) throw new ApiFailure("offline");
    throw error;
  });
  if (!response.ok) throw await failureOf(response);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the server sends is typed by shared/
  return (response.status === 204 ? undefined : await response.json()) as Answer;
}
