import { newId, type TokenPair } from "@scriptorium/shared";
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { codeOf, injected } from "./support/injected.ts";

const FULL = {
  title: "Attention is all you need",
  abstract: "摘要 ".repeat(100).trim(),
  keywords: ["attention", "translation"],
  authors: ["Vaswani, A.", "Shazeer, N."],
  tags: ["classic"],
  publicationYear: 2017,
  publication: "Advances in Neural Information Processing Systems",
  event: "NIPS 2017",
  volume: "30",
  issue: "1",
  pages: "5998-6008",
  url: "https://example.org/paper?id=1",
  doi: "10.48550/arXiv.1706.03762",
};

async function reading(t: TestContext) {
  const app = await injected(t);
  const owner = await app.register();
  const viewer = await app.register();
  const stranger = await app.register();
  const token = owner.accessToken;
  const projectId: string = (await app.call("POST /projects", { token, body: { name: "P" } })).body.id;
  const body = { userId: viewer.user.id, role: "viewer" };
  await app.call(`POST /projects/${projectId}/members`, { token, body });
  const create = (fields: object, who: TokenPair = owner) =>
    app.call(`POST /projects/${projectId}/papers`, { token: who.accessToken, body: fields });
  return { app, owner, viewer, stranger, token, projectId, create };
}

describe("papers", () => {
  it("keep every field, and have empty ones for what was not said", async (t) => {
    const { app, token, create, projectId } = await reading(t);
    const made = await create(FULL);
    assert.equal(made.status, 201);
    const { id, createdAt, updatedAt, ...fields } = made.body;
    assert.deepEqual(fields, { projectId, ...FULL });
    assert.equal(createdAt, updatedAt);
    assert.deepEqual((await app.call(`GET /papers/${id}`, { token })).body, made.body);
    const bare = (await create({ title: "Bare" })).body;
    assert.deepEqual([bare.publicationYear, bare.authors, bare.doi], [0, [], ""]);
  });

  it("are patched field by field: nothing is blanked, and two people who patch different fields both win", async (t) => {
    const { app, token, create } = await reading(t);
    const { id } = (await create(FULL)).body;
    const patch = (body: object) => app.call(`PATCH /papers/${id}`, { token, body });
    await Promise.all([patch({ volume: "31" }), patch({ tags: [] }), patch({ publicationYear: 2018 })]);
    const { volume, tags, publicationYear, title, abstract } = (
      await app.call(`GET /papers/${id}`, { token })
    ).body;
    assert.deepEqual([volume, tags, publicationYear], ["31", [], 2018]);
    assert.deepEqual([title, abstract], [FULL.title, FULL.abstract]);
    assert.equal((await patch({ doi: "" })).body.doi, "");
  });

  it("refuse what is not a paper, by field", async (t) => {
    const { app, token, create } = await reading(t);
    const { id } = (await create(FULL)).body;
    for (const [field, value] of Object.entries({
      title: "  ",
      abstract: "x".repeat(20_001),
      keywords: [""],
      authors: "Vaswani",
      tags: Array.from({ length: 101 }, () => "t"),
      publicationYear: 2017.5,
      volume: 30,
      pages: "x".repeat(256),
      url: "javascript:alert(1)",
      doi: "doi:10",
      projectId: newId(),
    })) {
      const answer = await app.call(`PATCH /papers/${id}`, { token, body: { [field]: value } });
      assert.equal(codeOf(answer), "bad_request", field);
    }
    assert.equal(codeOf(await create({})), "bad_request");
  });

  it("are listed newest first, page by page", async (t) => {
    const { app, token, create, projectId } = await reading(t);
    for (const title of ["one", "two", "three"]) {
      await create({ title });
      await new Promise((resolve) => setTimeout(resolve, 2)); // ids sort by the millisecond
    }
    const first = (await app.call(`GET /projects/${projectId}/papers?limit=2`, { token })).body;
    const rest = (await app.call(`GET /projects/${projectId}/papers?cursor=${first.nextCursor}`, { token }))
      .body;
    const titles = [...first.items, ...rest.items].map((paper: { title: string }) => paper.title);
    assert.deepEqual(titles, ["three", "two", "one"]);
    assert.equal(rest.nextCursor, null);
  });

  it("are read by viewers, written by editors, unknown to strangers", async (t) => {
    const { app, create, viewer, stranger, owner, projectId } = await reading(t);
    const { id } = (await create(FULL)).body;
    const ask = async (who: TokenPair, what: string, body?: object) => {
      const answer = await app.call(what, { token: who.accessToken, body });
      return answer.status < 300 ? answer.status : codeOf(answer);
    };
    const all = async (who: TokenPair) => [
      await ask(who, `GET /papers/${id}`),
      await ask(who, `GET /projects/${projectId}/papers`),
      await ask(who, `POST /projects/${projectId}/papers`, { title: "x" }),
      await ask(who, `PATCH /papers/${id}`, { title: "x" }),
      await ask(who, `DELETE /papers/${id}`),
    ];
    const none = ["not_found", "not_found", "not_found", "not_found", "not_found"];
    assert.deepEqual(await all(stranger), none);
    assert.deepEqual(await all(viewer), [200, 200, "forbidden", "forbidden", "forbidden"]);
    assert.deepEqual(await all(owner), [200, 200, 201, 200, 204]);
    assert.deepEqual((await all(owner))[0], "not_found");
  });
});
