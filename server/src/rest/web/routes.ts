import fastifyStatic from "@fastify/static";
import { Failure } from "@scriptorium/shared";
import type { FastifyInstance } from "fastify";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The browser client: files of web/dist, and its page for every address that a person may open. */

const NOT_BUILT =
  "<!doctype html><meta charset=utf-8><title>Scriptorium</title><p>The server runs, but the browser client was not built. " +
  "Stop it and run <code>npm start</code>, which builds the client first.";

export async function serveWeb(app: FastifyInstance, webDir: string): Promise<void> {
  const built = existsSync(join(webDir, "index.html"));
  if (built) {
    await app.register(fastifyStatic, {
      root: webDir,
      // Routes for the files that exist now; anything else is the not-found handler's.
      wildcard: false,
      cacheControl: false,
      // Small files, read whole; a range that lies outside would be an error to answer.
      acceptRanges: false,
      schemaHide: true,
      // Vite names what is in assets/ by its content.
      setHeaders: (reply, path) =>
        void reply.header(
          "cache-control",
          path.includes("/assets/") ? "public, max-age=31536000, immutable" : "no-cache",
        ),
    });
  } else {
    app.get("/", { schema: { hide: true } }, (_request, reply) =>
      reply.code(503).type("text/html; charset=utf-8").send(NOT_BUILT),
    );
  }
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?")[0] ?? "/";
    const wantsPage = request.method === "GET" && (request.headers.accept ?? "").includes("text/html");
    if (!built || !wantsPage || /^\/(api|assets|docs|\.well-known)(\/|$)/.test(path))
      throw new Failure("not_found");
    return reply.header("cache-control", "no-cache").sendFile("index.html");
  });
}
