import { Failure, newId } from "@scriptorium/shared";
import { startServer } from "@scriptorium/server/testing";
import fc from "fast-check";
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { openMemory } from "../src/storage/adapters/memory/open.ts";
import { codeOf, injected, PASSWORD, type Ask, type Injected } from "./support/injected.ts";

const RUNS = 1_500;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

interface Route {
  readonly method: string;
  readonly path: string;
}

async function routesOf(app: Injected): Promise<Route[]> {
  const { paths } = (await app.call("GET /openapi.json")).body;
  return Object.entries<object>(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
  );
}

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom("", "\u0000", "__proto__", "../..", "%", "%zz", "a/b", "\ud800"),
);
const anything = fc.oneof(fc.jsonValue(), text, fc.constantFrom(null, 1e308, -1, [], {}, "x".repeat(30_000)));
const FIELDS = [
  "username",
  "password",
  "oldPassword",
  "newPassword",
  "displayName",
  "refreshToken",
  "name",
  "description",
];
const MORE_FIELDS = [
  "userId",
  "role",
  "title",
  "abstract",
  "keywords",
  "authors",
  "publicationYear",
  "url",
  "doi",
  "__proto__",
];
const body = fc.oneof(
  fc
    .dictionary(fc.constantFrom(...FIELDS, ...MORE_FIELDS), anything, { maxKeys: 6 })
    .map((object) => JSON.stringify(object)),
  fc.json(),
  fc.string({ maxLength: 200 }),
  fc.constantFrom(undefined, "", "{", "[[[[", '{"a":1}{', "null", '"', "\ufeff{}"),
);
const contentType = fc.constantFrom(
  "application/json",
  "application/json",
  "application/json",
  "text/plain",
  "application/xml",
  "multipart/form-data",
  "application/json; charset=utf-16",
  ";;",
  undefined,
);

describe("the REST edge", () => {
  it("answers anything with no 5xx and every refusal with a problem document", async (t) => {
    const app = await injected(t, {
      env: { AUTH_FAILURES_PER_PAIR: "1000000", AUTH_FAILURES_PER_ACCOUNT: "1000000" },
    });
    let person = await app.register("fuzzed");
    const owner = await app.register();
    const token = owner.accessToken;
    const project: string = (await app.call("POST /projects", { token, body: { name: "P" } })).body.id;
    const paper: string = (
      await app.call(`POST /projects/${project}/papers`, { token, body: { title: "T" } })
    ).body.id;
    const member = { userId: person.user.id, role: "editor" };
    await app.call(`POST /projects/${project}/members`, { token, body: member });
    const routes = await routesOf(app);
    assert.ok(routes.length > 20);
    const id = fc.oneof(
      fc.constantFrom(project, paper, person.user.id, `notes:${paper}`, `board:${project}`, newId()),
      text.map(encode),
      text,
    );
    const request = fc.record({
      route: fc.constantFrom(...routes),
      method: fc.option(fc.constantFrom(...METHODS), { freq: 6 }),
      ids: fc.array(id, { minLength: 2, maxLength: 2 }),
      query: fc.option(fc.webQueryParameters(), { freq: 2 }),
      body,
      contentType,
      auth: fc.option(text, { freq: 4 }),
      trailing: fc.constantFrom("", "", "", "", "/", "/x", "%"),
    });
    await fc.assert(
      fc.asyncProperty(request, async (asked) => {
        const method = asked.method ?? asked.route.method;
        const filled = asked.ids.reduce(
          (path, each) => path.replace(/\{[^}]+\}/, () => each),
          asked.route.path,
        );
        const path = `${filled.replace("/api/v1", "")}${asked.trailing}${asked.query === null ? "" : `?${asked.query}`}`;
        const headers: Record<string, string> = {
          authorization: `Bearer ${asked.auth ?? person.accessToken}`,
        };
        if (asked.contentType !== undefined) headers["content-type"] = asked.contentType;
        const ask: Ask = { headers, ...(asked.body === undefined ? {} : { body: asked.body }) };
        const answer = await app.call(`${method} ${path.replaceAll(" ", "%20")}`, ask);
        assert.ok(answer.status < 500, answer.text);
        if (answer.status >= 400 && method !== "HEAD") {
          // A fuzzer that signs itself out signs in again, or the rest of the run would only meet 401.
          if (codeOf(answer) === "session_revoked") person = await signIn(app);
        }
      }),
      { numRuns: RUNS },
    );
    assert.equal((await app.call("GET /projects", { token })).body.items.length, 1);
  });

  it("survives bytes that are no HTTP and requests that are never finished", async (t) => {
    const server = await startServer({ store: await openMemory() });
    t.after(() => server.stop());
    const line = fc.record({
      method: fc.string({ maxLength: 8 }),
      path: fc.string({ maxLength: 30 }),
      rest: fc.string({ maxLength: 80 }),
    });
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      line.map(({ method, path, rest }) =>
        Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: x\r\n${rest}\r\n\r\n`),
      ),
      line.map(({ path, rest }) =>
        Buffer.from(
          `GET ${path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n${rest}\r\n\r\n`,
        ),
      ),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (sent) => {
        const socket = connect(server.port, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.resume();
        await once(socket, "connect");
        socket.end(sent);
        await once(socket, "close");
      }),
      { numRuns: 200 },
    );
    assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  });

  it(
    "takes a client that goes away in the middle of its request for no bug",
    { timeout: 10_000 },
    async (t) => {
      const server = await startServer({ store: await openMemory() });
      t.after(() => server.stop());
      const http = server.app.app.server;
      const responding = once(http, "request");
      const socket = connect(server.port, "127.0.0.1");
      const type = "content-type: application/json";
      socket.write(`POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\n${type}\r\ncontent-length: 99\r\n\r\n{`);
      const [, response] = await responding;
      socket.destroy();
      // Nobody reads the answer; its status says how the failure was judged (200 until then).
      while (response.statusCode === 200) await new Promise(setImmediate);
      assert.equal(response.statusCode, 400);
    },
  );

  it("passes over an offer of HTTP/2, as Java's client and curl --http2 make it", async (t) => {
    const server = await startServer({ store: await openMemory() });
    t.after(() => server.stop());
    const socket = connect(server.port, "127.0.0.1").setEncoding("utf8");
    t.after(() => socket.destroy());
    const offer =
      "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA";
    socket.write(`GET /healthz HTTP/1.1\r\nhost: x\r\n${offer}\r\n\r\n`);
    assert.match(String(await once(socket, "data")), /^HTTP\/1.1 200 /);
  });

  it("answers with problem documents in every role", async (t) => {
    const app = await injected(t, { env: { ROLES: "collab" } });
    assert.equal(codeOf(await app.call("GET /users/me")), "not_found");
  });

  it("says what is wrong with a body, a type, a size, a path and a method", async (t) => {
    const app = await injected(t, { env: { REST_BODY_BYTES: "2048" } });
    const post = async (ask: Ask) => codeOf(await app.call("POST /auth/login", ask));
    assert.equal(await post({ body: "{" }), "bad_request");
    assert.equal(
      await post({ body: "a=b", headers: { "content-type": "application/x-www-form-urlencoded" } }),
      "unsupported_media_type",
    );
    assert.equal(await post({ body: { username: "a", password: "x".repeat(3_000) } }), "payload_too_large");
    assert.equal(await post({}), "bad_request");
    assert.equal(codeOf(await app.call("GET /nowhere")), "not_found");
    assert.equal(codeOf(await app.call("GET //nowhere")), "not_found");
    const { accessToken: token } = await app.register();
    assert.equal(codeOf(await app.call("GET /projects?cursor=", { token })), "bad_request");
    const wrong = await app.call("PUT /projects");
    assert.deepEqual([codeOf(wrong), wrong.headers["allow"]], ["method_not_allowed", "POST, GET, HEAD"]);
  });

  it("tells nothing about a bug and logs it with its stack; keeps a transient failure apart", async (t) => {
    const store = await openMemory();
    const trouble: { error?: Error } = {};
    const streams = {
      ...store.streams,
      head: async (stream: string) => {
        if (trouble.error !== undefined) throw trouble.error;
        return store.streams.head(stream);
      },
    };
    const app = await injected(t, { store: { ...store, streams } });
    const { accessToken: token } = await app.register();
    trouble.error = new TypeError("secret of the house");
    const bug = await app.call("GET /projects/01ARZ3NDEKTSV4RRFFQ69G5FAV", { token });
    assert.deepEqual([bug.status, codeOf(bug)], [500, "internal"]);
    assert.doesNotMatch(bug.text, /secret|TypeError/);
    trouble.error = new Failure("try_later", "the store's writer is down");
    const down = await app.call("GET /projects/01ARZ3NDEKTSV4RRFFQ69G5FAV", { token });
    assert.deepEqual([down.status, codeOf(down)], [503, "try_later"]);
  });
});

async function signIn(app: Injected) {
  return (await app.call("POST /auth/login", { body: { username: "fuzzed", password: PASSWORD } })).body;
}

function encode(value: string): string {
  return encodeURIComponent(value.toWellFormed());
}
