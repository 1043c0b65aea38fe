import { newId, type TokenPair } from "@scriptorium/shared";
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { codeOf, injected, type Injected } from "./support/injected.ts";

const ROLES = ["owner", "editor", "commenter", "viewer", "stranger"] as const;
type Who = (typeof ROLES)[number];

/** A project with one person of each role, and a stranger. */
async function cast(t: TestContext) {
  const app = await injected(t);
  const people = new Map<Who, TokenPair>();
  for (const role of ROLES) people.set(role, await app.register());
  const as = (who: Who): TokenPair => people.get(who) ?? assert.fail(who);
  const token = (who: Who) => as(who).accessToken;
  const project = (await app.call("POST /projects", { token: token("owner"), body: { name: "Reading" } }))
    .body;
  for (const role of ["editor", "commenter", "viewer"] as const) {
    await addMember(app, token("owner"), { projectId: project.id, userId: as(role).user.id, role });
  }
  return { app, as, token, project };
}

const addMember = (
  app: Injected,
  token: string,
  { projectId, userId, role }: { projectId: string; userId: string; role: string },
) => app.call(`POST /projects/${projectId}/members`, { token, body: { userId, role } });

/** What each person is answered, as `status` for 2xx and `code` otherwise. */
async function outcomes(ask: (who: Who) => ReturnType<Injected["call"]>): Promise<Record<string, unknown>> {
  const entries: [string, unknown][] = [];
  for (const who of ROLES) {
    const answer = await ask(who);
    entries.push([who, answer.status < 300 ? answer.status : codeOf(answer)]);
  }
  return Object.fromEntries(entries);
}

describe("projects", () => {
  it("are made with 201, read by members only, and a stranger cannot tell them from none", async (t) => {
    const { app, token, project } = await cast(t);
    assert.deepEqual([project.name, project.description, project.role], ["Reading", "", "owner"]);
    const get = (who: Who) => app.call(`GET /projects/${project.id}`, { token: token(who) });
    assert.deepEqual(await outcomes(get), {
      owner: 200,
      editor: 200,
      commenter: 200,
      viewer: 200,
      stranger: "not_found",
    });
    const hidden = (await get("stranger")).body;
    const none = (await app.call(`GET /projects/${newId()}`, { token: token("stranger") })).body;
    assert.deepEqual({ ...hidden, requestId: "" }, { ...none, requestId: "" });
    assert.equal((await get("viewer")).body.role, "viewer");
  });

  it("are changed by owners and editors, field by field", async (t) => {
    const { app, token, project } = await cast(t);
    const patch = (who: Who, body: object) =>
      app.call(`PATCH /projects/${project.id}`, { token: token(who), body });
    assert.deepEqual(await outcomes((who) => patch(who, { description: "by " + who })), {
      owner: 200,
      editor: 200,
      commenter: "forbidden",
      viewer: "forbidden",
      stranger: "not_found",
    });
    await Promise.all([patch("owner", { name: "A" }), patch("editor", { description: "B" })]);
    const { name, description } = (await app.call(`GET /projects/${project.id}`, { token: token("viewer") }))
      .body;
    assert.deepEqual([name, description], ["A", "B"]);
    assert.equal(codeOf(await patch("owner", { name: "" })), "bad_request");
    assert.equal(codeOf(await patch("owner", { name: "x".repeat(65) })), "bad_request");
    assert.equal(codeOf(await patch("owner", { owner: "me" })), "bad_request");
  });

  it("are listed page by page, each once, newest first", async (t) => {
    const app = await injected(t);
    const { accessToken: token } = await app.register();
    const made: string[] = [];
    for (let i = 0; i < 7; i += 1) {
      made.unshift((await app.call("POST /projects", { token, body: { name: `P${i}` } })).body.id);
      await new Promise((resolve) => setTimeout(resolve, 2)); // ids sort by the millisecond
    }
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const query: string = cursor === "" ? "" : `&cursor=${cursor}`;
      const page = (await app.call(`GET /projects?limit=3${query}`, { token })).body;
      assert.ok(page.items.length <= 3);
      seen.push(...page.items.map((project: { id: string }) => project.id));
      cursor = page.nextCursor;
    }
    assert.deepEqual(seen, made);
    for (const bad of ["limit=0", "limit=101", "limit=x", "page=2"]) {
      assert.equal(codeOf(await app.call(`GET /projects?${bad}`, { token })), "bad_request", bad);
    }
  });

  it("are deleted by owners only, with members, papers and documents", async (t) => {
    const { app, token, project, as } = await cast(t);
    const body = { title: "T" };
    const paper = (await app.call(`POST /projects/${project.id}/papers`, { token: token("owner"), body }))
      .body;
    const remove = (who: Who) => app.call(`DELETE /projects/${project.id}`, { token: token(who) });
    for (const who of ["editor", "commenter", "viewer"] as const)
      assert.equal(codeOf(await remove(who)), "forbidden");
    assert.equal(codeOf(await remove("stranger")), "not_found");
    assert.equal((await remove("owner")).status, 204);
    for (const path of [
      `/projects/${project.id}`,
      `/projects/${project.id}/members`,
      `/projects/${project.id}/papers`,
      `/papers/${paper.id}`,
      `/documents/notes:${paper.id}`,
      `/documents/brief:${project.id}`,
    ]) {
      assert.equal(codeOf(await app.call(`GET ${path}`, { token: token("owner") })), "not_found", path);
    }
    assert.deepEqual((await app.call("GET /projects", { token: token("editor") })).body.items, []);
    assert.equal(codeOf(await remove("owner")), "not_found");
    const who = { projectId: project.id, userId: as("stranger").user.id, role: "viewer" };
    assert.equal(codeOf(await addMember(app, token("owner"), who)), "not_found");
  });
});

describe("members", () => {
  it("are listed with names and colours in the order of joining, page by page", async (t) => {
    const { app, token, project, as } = await cast(t);
    const first = (await app.call(`GET /projects/${project.id}/members?limit=3`, { token: token("viewer") }))
      .body;
    const cursor = encodeURIComponent(first.nextCursor);
    const rest = await app.call(`GET /projects/${project.id}/members?limit=3&cursor=${cursor}`, {
      token: token("viewer"),
    });
    const all = [...first.items, ...rest.body.items];
    assert.deepEqual(
      all.map((member) => member.role),
      ["owner", "editor", "commenter", "viewer"],
    );
    assert.equal(rest.body.nextCursor, null);
    assert.equal(all[1].username, as("editor").user.username);
    assert.match(all[1].color, /^#[0-9a-f]{6}$/);
  });

  it("are added by id or name, once, by owners only", async (t) => {
    const { app, token, project, as } = await cast(t);
    const { user } = as("stranger");
    const add = (who: Who, body: object) =>
      app.call(`POST /projects/${project.id}/members`, { token: token(who), body });
    const body = { username: user.username.toUpperCase(), role: "viewer" };
    for (const who of ["editor", "commenter", "viewer"] as const)
      assert.equal(codeOf(await add(who, body)), "forbidden");
    assert.equal(codeOf(await add("stranger", body)), "not_found");
    const added = await add("owner", body);
    assert.deepEqual([added.status, added.body.userId, added.body.role], [201, user.id, "viewer"]);
    assert.equal(codeOf(await add("owner", { userId: user.id, role: "owner" })), "already_member");
    assert.equal(codeOf(await add("owner", { userId: newId(), role: "viewer" })), "not_found");
    assert.equal(codeOf(await add("owner", { username: "nobody-here", role: "viewer" })), "not_found");
    for (const bad of [
      { role: "viewer" },
      { userId: user.id, username: "x", role: "viewer" },
      { userId: user.id, role: "king" },
    ]) {
      assert.equal(codeOf(await add("owner", bad)), "bad_request");
    }
  });

  it("get another role from owners; a demoted person can do less at once", async (t) => {
    const { app, token, project, as } = await cast(t);
    const { id } = as("editor").user;
    const set = (who: Who, role: string) =>
      app.call(`PATCH /projects/${project.id}/members/${id}`, { token: token(who), body: { role } });
    assert.equal(codeOf(await set("editor", "owner")), "forbidden");
    assert.equal((await set("owner", "viewer")).body.role, "viewer");
    const write = await app.call(`POST /projects/${project.id}/papers`, {
      token: token("editor"),
      body: { title: "x" },
    });
    assert.equal(codeOf(write), "forbidden");
    const unknown = `PATCH /projects/${project.id}/members/${newId()}`;
    assert.equal(
      codeOf(await app.call(unknown, { token: token("owner"), body: { role: "viewer" } })),
      "not_found",
    );
  });

  it("leave by themselves, are removed by owners, and the last owner stays", async (t) => {
    const { app, token, project, as } = await cast(t);
    const remove = (who: Who, whom: Who) =>
      app.call(`DELETE /projects/${project.id}/members/${as(whom).user.id}`, { token: token(who) });
    assert.equal(codeOf(await remove("editor", "viewer")), "forbidden");
    assert.equal((await remove("viewer", "viewer")).status, 204);
    assert.equal((await remove("owner", "editor")).status, 204);
    assert.equal(
      codeOf(await app.call(`GET /projects/${project.id}`, { token: token("editor") })),
      "not_found",
    );
    assert.equal(codeOf(await remove("owner", "owner")), "last_owner");
    const demote = `PATCH /projects/${project.id}/members/${as("owner").user.id}`;
    assert.equal(
      codeOf(await app.call(demote, { token: token("owner"), body: { role: "viewer" } })),
      "last_owner",
    );
    assert.equal(codeOf(await remove("stranger", "stranger")), "not_found");
  });
});
