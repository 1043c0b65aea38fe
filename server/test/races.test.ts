import { TokenPair } from "@scriptorium/shared";
import { startServer, type TestServer } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

/** The races once more where they will really happen: over HTTP and SQLite. */
describe("races over the real store", { timeout: 60_000 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startServer();
  });
  after(() => server.stop());

  it("of ten first accounts leave one administrator", async () => {
    const people = await Promise.all(Array.from({ length: 10 }, () => server.register()));
    const users = await Promise.all(
      people.map((person) => person.call<{ admin: boolean }>("GET", "/users/me")),
    );
    assert.equal(users.filter((user) => user.admin).length, 1);
  });

  it("of ten registrations of one name leave one account", async () => {
    const tries = await Promise.allSettled(Array.from({ length: 10 }, () => server.register("Same-Name")));
    assert.equal(tries.filter((attempt) => attempt.status === "fulfilled").length, 1);
  });

  it("of twenty refreshes have one successor, which works", async () => {
    const person = await server.register();
    const { refreshToken } = person;
    const refresh = () =>
      fetch(`${server.url}/api/v1/auth/refresh`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ refreshToken }),
      });
    const responses = await Promise.all(Array.from({ length: 20 }, refresh));
    const pairs = await Promise.all(
      responses.map(async (response) => TokenPair.parse(await response.json())),
    );
    const successors = new Set(pairs.map((pair) => pair.refreshToken));
    assert.equal(successors.size, 1);
    person.refreshToken = pairs[0]?.refreshToken ?? "";
    await person.refresh();
  });

  it("of two owners who demote each other leave one", async () => {
    for (let round = 0; round < 5; round += 1) {
      const [one, two] = [await server.register(), await server.register()];
      const project = await one.createProject();
      await one.addMember(project.id, two.user.id, "owner");
      const results = await Promise.allSettled([
        one.setRole(project.id, two.user.id, "editor"),
        two.setRole(project.id, one.user.id, "editor"),
      ]);
      assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
      const roles = [await one.projects(), await two.projects()].map((page) => String(page.items[0]?.role));
      assert.deepEqual(new Set(roles), new Set(["editor", "owner"]));
    }
  });
});
