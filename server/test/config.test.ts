import { DEFAULT_LIMITS } from "@scriptorium/collab";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { ConfigError, Environment, readConfig } from "../src/config.ts";

const EXAMPLE = new URL("../../.env.example", import.meta.url);
const COLLAB_DEFAULTS: Readonly<Record<string, number>> = {
  COLLAB_MESSAGE_BYTES: DEFAULT_LIMITS.messageBytes,
  COLLAB_DOCUMENT_BYTES: DEFAULT_LIMITS.documentBytes,
  COLLAB_CLIENT_BUFFER_BYTES: DEFAULT_LIMITS.clientBufferBytes,
  COLLAB_UNCOMMITTED_BYTES: DEFAULT_LIMITS.uncommittedBytes,
  COLLAB_SOCKETS: DEFAULT_LIMITS.sockets,
  COLLAB_MESSAGES_PER_SECOND: DEFAULT_LIMITS.messagesPerSecond,
  COLLAB_MESSAGE_BURST: DEFAULT_LIMITS.messageBurst,
};

describe("the configuration", () => {
  it("is what .env.example says: the same variables, the same defaults", async () => {
    const lines = (await readFile(EXAMPLE, "utf8")).split("\n");
    const shown = new Map<string, string>();
    for (const line of lines) {
      const [, name, value] = /^#? ?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? [];
      if (name !== undefined) shown.set(name, value ?? "");
    }
    const defaults = Object.entries({ ...readConfig({}), ...COLLAB_DEFAULTS });
    const byName = new Map(defaults.map(([name, value]) => [name, [value].flat().join(",")]));
    const expected = Object.keys(Environment.shape).map((name) => [name, byName.get(name) ?? ""]);
    assert.deepEqual(Object.fromEntries(shown), Object.fromEntries(expected));
  });

  it("reads its own defaults when they are set by hand", () => {
    const byHand = readConfig({
      PORT: "3200",
      ROLES: " api, collab,terminal ",
      HOST: "127.0.0.1",
      DRAIN_MS: "10000",
    });
    assert.deepEqual(byHand, readConfig({}));
  });

  it("takes an empty value for none, as compose files write it", () => {
    assert.deepEqual(readConfig({ MONGODB_URL: "", PORT: " ", PUBLIC_URL: "" }), readConfig({}));
  });

  for (const [name, value] of Object.entries({
    PORT: "70000",
    DRAIN_MS: "soon",
    ROLES: "api,cooking",
    LOG_LEVEL: "loud",
    PUBLIC_URL: "javascript:alert(1)",
    ALLOWED_ORIGINS: "https://a.example, nonsense",
    TRUST_PROXY: "everybody",
    AUTH_ARGON2_MEMORY_KIB: "64",
    COLLAB_MESSAGE_BYTES: "-1",
    COLLAB_MESSAGE_BITES: "1000000",
    AUTH_LOGIN_LIMIT: "3",
    MONGODB_URL: "postgres://127.0.0.1/x",
    REDIS_URL: "redis://127.0.0.1",
  })) {
    it(`refuses ${name}=${value} by name`, () => {
      const refused = (error: unknown) =>
        error instanceof ConfigError && error.message.startsWith(`${name}: `);
      assert.throws(() => readConfig({ [name]: value }), refused);
    });
  }

  it("takes a Redis for servers that share a MongoDB, and for no others", () => {
    const MONGODB_URL = "mongodb://127.0.0.1/x";
    for (const url of ["redis://127.0.0.1:6379", "rediss://user:secret@redis.example/2"]) {
      assert.equal(readConfig({ MONGODB_URL, REDIS_URL: url }).REDIS_URL, url);
    }
    assert.throws(
      () => readConfig({ REDIS_URL: "redis://127.0.0.1" }),
      /^ConfigError: REDIS_URL: .*needs MONGODB_URL/,
    );
    const refused = (error: unknown) =>
      error instanceof ConfigError &&
      error.message.startsWith("REDIS_URL: ") &&
      !error.message.includes("secret");
    for (const url of ["http://user:secret@127.0.0.1", "user:secret@127.0.0.1:6379", "redis://"]) {
      assert.throws(() => readConfig({ MONGODB_URL, REDIS_URL: url }), refused);
    }
  });

  it("takes addresses of MongoDB, and shows none of it when it refuses one", () => {
    for (const url of ["mongodb://127.0.0.1/x", "mongodb+srv://user:secret@cluster.example/x?w=majority"]) {
      assert.equal(readConfig({ MONGODB_URL: url }).MONGODB_URL, url);
    }
    const refused = (error: unknown) => error instanceof ConfigError && !error.message.includes("secret");
    assert.throws(() => readConfig({ MONGODB_URL: "mongo://user:secret@127.0.0.1" }), refused);
  });

  it("names every wrong variable at once", () => {
    assert.throws(() => readConfig({ PORT: "x", DRAIN_MS: "x" }), /PORT.*DRAIN_MS/);
  });
});
