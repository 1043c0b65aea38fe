import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import { Failure, newId } from "@scriptorium/shared";
import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from "fastify";
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import type { Socket } from "node:net";
import { problemOf, PROBLEM_TYPE, sendProblem } from "./problems.ts";

/** The HTTP server with everything that holds for every route: parsing, problems, headers, logs, documentation. */

export interface HttpDeps {
  readonly log: FastifyBaseLogger;
  /** Addresses of proxies whose X-Forwarded-* headers count. */
  readonly trustProxy: readonly string[];
  readonly bodyBytes: number;
  readonly now: () => number;
}

/** A client that takes longer to send its request is cut off. */
const REQUEST_MS = 30_000;
/** Longer than the idle time of common proxies (60 s), so that they never meet a closing connection. */
const KEEP_ALIVE_MS = 72_000;
const PARAM_CHARS = 200;
const DOCS = "/docs";

const SECURITY_HEADERS = {
  "content-security-policy":
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
    "connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
} as const;

export function createHttpServer(deps: HttpDeps): FastifyInstance {
  const app = fastify({
    loggerInstance: deps.log,
    // Fastify's own lines hold the whole URL; a query may hold a token.
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: deps.trustProxy.length === 0 ? false : [...deps.trustProxy],
    bodyLimit: deps.bodyBytes,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Java's HttpClient and curl --http2 offer h2c with every request: an offer that HTTP lets us pass over.
    http: { shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === "websocket" },
    return503OnClosing: false,
    requestIdHeader: false,
    genReqId: () => newId(deps.now()),
    routerOptions: { maxParamLength: PARAM_CHARS },
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same object under another generic
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply as never),
    clientErrorHandler: refuseUnparsable,
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.decorateRequest("caller", undefined);
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  acceptJsonOnly(app);
  app.addHook("onRequest", async (_request, reply) => {
    reply.headers(SECURITY_HEADERS);
  });
  logAnswers(app);
  return app;
}

/** Documentation of the routes that are registered after this. Swagger UI comes with the package: no CDN. */
export async function documentApi(app: FastifyInstance, prefix: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Scriptorium", version: "1", description: "Errors are RFC 9457 problem documents." },
      servers: [{ url: "/" }],
      components: {
        securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
      },
    },
    transform: jsonSchemaTransform,
  });
  await app.register(swaggerUi, { routePrefix: DOCS });
  app.get(`${prefix}/openapi.json`, { schema: { hide: true } }, async () => app.swagger());
}

/**
 * Answers 405 with Allow where a path exists and the method does not. Before the body is read and before the routes'
 * own hooks, so the answer does not depend on them. Call before any route is registered.
 */
export function refuseOtherMethods(app: FastifyInstance): () => void {
  const methods = new Map<string, Set<string>>();
  app.addHook("onRoute", (route) => {
    const known = methods.get(route.url) ?? new Set();
    for (const method of [route.method].flat()) known.add(method);
    methods.set(route.url, known);
  });
  return () => {
    for (const [url, known] of Array.from(methods)) {
      const allow = [...known].join(", ");
      const others = app.supportedMethods.filter((method) => !known.has(method));
      if (url.includes("*") || url.startsWith(DOCS) || others.length === 0) continue;
      const refuse = async (_request: unknown, reply: { header(name: string, value: string): unknown }) => {
        reply.header("allow", allow);
        throw new Failure("method_not_allowed");
      };
      app.route({ method: others, url, schema: { hide: true }, onRequest: refuse, handler: refuse });
    }
  };
}

function acceptJsonOnly(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, (_request, body, done) => {
    // Clients that always send the header: an empty body is no body.
    if (body === "") return done(null, undefined);
    try {
      return done(null, JSON.parse(String(body)));
    } catch (error) {
      return done(new Failure("bad_request", "The body is not valid JSON", { cause: error }));
    }
  });
}

function logAnswers(app: FastifyInstance): void {
  app.addHook("onResponse", async (request, reply) => {
    request.log.info(
      {
        method: request.method,
        // The pattern, not the address: what people put into addresses is theirs.
        route: request.routeOptions.url ?? "none",
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        userId: request.caller?.userId,
      },
      "answered",
    );
  });
}

/** What Node's parser refuses never becomes a request; the answer is written by hand. */
function refuseUnparsable(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const code = error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? "idle_timeout" : "bad_request";
  const problem = problemOf(new Failure(code, "The request is not valid HTTP"));
  const body = JSON.stringify(problem);
  socket.once("finish", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${problem.status} ${code === "bad_request" ? "Bad Request" : "Request Timeout"}\r\n` +
      `content-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
