import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { pino } from "pino";
import { healthRoutes } from "../src/rest/health/routes.ts";
import { createHttpServer } from "../src/rest/server.ts";
import { codeOf, injected } from "./support/injected.ts";

async function webDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "scriptorium-web-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await mkdir(join(dir, "assets"));
  await writeFile(join(dir, "index.html"), "<!doctype html><title>the page</title>");
  await writeFile(join(dir, "assets", "index-abc123.js"), "export {};");
  await writeFile(join(dir, "favicon.svg"), "<svg/>");
  return dir;
}
const page = { accept: "text/html,application/xhtml+xml" };

describe("the browser client", () => {
  it("is its page for every address a person may open", async (t) => {
    const app = await injected(t, { webDir: await webDir(t) });
    for (const path of ["//", "//projects/x", "//papers/y?tab=notes"]) {
      const answer = await app.call(`GET ${path}`, { headers: page });
      assert.equal(answer.status, 200, path);
      assert.match(answer.text, /the page/);
      assert.equal(answer.headers["cache-control"], "no-cache");
    }
    for (const path of ["//api/v1/nowhere", "//assets/gone.js", "//projects/x"]) {
      const headers = path === "//projects/x" ? { accept: "application/json" } : page;
      assert.equal(codeOf(await app.call(`GET ${path}`, { headers })), "not_found", path);
    }
    assert.equal(codeOf(await app.call("POST //projects/x", { headers: page })), "not_found");
  });

  it("is cached for good where the name says the content, else asked for again", async (t) => {
    const app = await injected(t, { webDir: await webDir(t) });
    const asset = await app.call("GET //assets/index-abc123.js");
    assert.equal(asset.headers["cache-control"], "public, max-age=31536000, immutable");
    const icon = await app.call("GET //favicon.svg");
    assert.deepEqual([icon.status, icon.headers["cache-control"]], [200, "no-cache"]);
    assert.equal(codeOf(await app.call("GET //assets/..%2f..%2fetc%2fpasswd")), "not_found");
  });

  it("takes a range or a condition that cannot be met for no bug", async (t) => {
    const app = await injected(t, { webDir: await webDir(t) });
    const range = await app.call("GET //favicon.svg", { headers: { range: "bytes=99999-" } });
    assert.deepEqual([range.status, range.text], [200, "<svg/>"]);
    const condition = await app.call("GET //favicon.svg", { headers: { "if-match": '"another"' } });
    assert.deepEqual([condition.status, codeOf(condition)], [400, "bad_request"]);
  });

  it("says how to build it when it is not built", async (t) => {
    const app = await injected(t, { webDir: join(tmpdir(), "no-such-directory") });
    const answer = await app.call("GET //", { headers: page });
    assert.equal(answer.status, 503);
    assert.match(answer.text, /npm start/);
  });
});

describe("every answer", () => {
  it("carries the security headers and no advertisement", async (t) => {
    const app = await injected(t, { webDir: await webDir(t) });
    for (const path of [
      "//",
      "//assets/index-abc123.js",
      "//api/v1/users/me",
      "//nowhere",
      "//docs/",
      "//healthz",
    ]) {
      const { headers } = await app.call(`GET ${path}`);
      const csp = String(headers["content-security-policy"]);
      assert.match(csp, /script-src 'self'; .*object-src 'none'; .*frame-ancestors 'none'/, path);
      assert.equal(headers["x-content-type-options"], "nosniff", path);
      assert.equal(headers["referrer-policy"], "no-referrer", path);
      assert.equal(headers["x-powered-by"], undefined);
      assert.equal(headers["server"], undefined);
    }
  });
});

describe("the documentation", () => {
  it("is OpenAPI 3.1 with a summary, a problem and security for each route that needs it", async (t) => {
    const app = await injected(t);
    const document = (await app.call("GET /openapi.json")).body;
    assert.equal(document.openapi, "3.1.0");
    const free = ["/auth/register", "/auth/login", "/auth/refresh"];
    for (const [path, methods] of Object.entries<Record<string, Record<string, unknown>>>(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const name = `${method} ${path}`;
        assert.ok(operation["summary"], name);
        assert.ok("4xx" in Object(operation["responses"]) || "4XX" in Object(operation["responses"]), name);
        assert.equal(operation["security"] === undefined, free.includes(path.replace("/api/v1", "")), name);
      }
    }
  });

  it("has a UI without a CDN and without inline scripts", async (t) => {
    const app = await injected(t);
    const { text } = await app.call("GET //docs/");
    assert.match(text, /swagger-ui-bundle\.js/);
    assert.doesNotMatch(text, /https?:\/\//);
    assert.doesNotMatch(text, /<script(?![^>]*src=)/);
    assert.equal((await app.call("GET //docs/static/swagger-ui-bundle.js")).status, 200);
  });
});

describe("health", () => {
  it("says 503 with a reason while the server drains or the store fails", async (t) => {
    const state: { reason: "draining" | "store" | undefined } = { reason: undefined };
    const log = pino({ level: "silent" });
    const app = createHttpServer({ log, trustProxy: [], bodyBytes: 1024, now: Date.now });
    t.after(() => app.close());
    await app.register(
      healthRoutes({ unready: () => state.reason, degraded: () => undefined, stats: () => ({}) }),
    );
    const code = async () => {
      const response = await app.inject("/readyz");
      return [response.statusCode, response.json().code, response.headers["retry-after"]];
    };
    assert.deepEqual(await code(), [200, undefined, undefined]);
    state.reason = "store";
    assert.deepEqual(await code(), [503, "try_later", "1"]);
    state.reason = "draining";
    assert.deepEqual(await code(), [503, "restarting", "1"]);
  });

  it("is ready until it drains, and tells numbers", async (t) => {
    const app = await injected(t);
    await app.register();
    assert.equal((await app.call("GET //healthz")).status, 200);
    assert.equal((await app.call("GET //readyz")).status, 200);
    const metrics = (await app.call("GET //metrics")).text;
    assert.match(metrics, /^scriptorium_collab_documents 0$/m);
    assert.match(metrics, /^scriptorium_store_writes \d+$/m);
    assert.match(metrics, /^scriptorium_ready 1$/m);
  });
});
