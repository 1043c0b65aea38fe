import { formatDocumentName, newId, type DocumentKind } from "@scriptorium/shared";
import { RestError, startServer, type TestServer } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as Y from "yjs";
import { openMemory } from "../src/storage/adapters/memory/open.ts";
import { codeOf, injected } from "./support/injected.ts";

const update = (write: (doc: Y.Doc) => void): Uint8Array => {
  const doc = new Y.Doc();
  write(doc);
  return Y.encodeStateAsUpdate(doc);
};
const notes = (text: string) => update((doc) => doc.getText("md").insert(0, text));

describe("documents over REST", () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ store: await openMemory() });
  });
  after(() => server.stop());

  it("are read as update, JSON and Markdown by members", async () => {
    const owner = await server.register();
    const viewer = await server.register();
    const project = await owner.createProject();
    const paper = await owner.createPaper(project.id);
    await owner.addMember(project.id, viewer.user.id, "viewer");
    const name = (kind: DocumentKind, id: string) => formatDocumentName({ kind, id });
    const notesName = name("notes", paper.id);
    await server.app.collab.replace(notesName, notes("# 笔记\n"), owner.user.id);
    await server.app.collab.replace(
      name("board", project.id),
      update((doc) => doc.getMap("cards").set(paper.id, { col: "todo", rank: "a" })),
      owner.user.id,
    );
    const doc = new Y.Doc();
    Y.applyUpdate(doc, await viewer.document(notesName));
    assert.equal(doc.getText("md").toJSON(), "# 笔记\n");
    assert.equal(await viewer.markdown(notesName), "# 笔记\n");
    const path = (document: string, format: string) =>
      `/documents/${encodeURIComponent(document)}?format=${format}`;
    assert.deepEqual(await viewer.call("GET", path(notesName, "json")), {
      name: notesName,
      md: "# 笔记\n",
      meta: {},
    });
    const board = name("board", project.id);
    const cards = { [paper.id]: { col: "todo", rank: "a" } };
    assert.deepEqual(await viewer.call("GET", path(board, "json")), { name: board, cards });
    assert.equal(await viewer.markdown(name("brief", project.id)), "");
    const asMarkdown = viewer.markdown(board);
    await assert.rejects(
      asMarkdown,
      (error) => error instanceof RestError && error.problem.code === "bad_request",
    );
  });

  it("have a JSON form whatever a client put into their maps", async () => {
    const owner = await server.register();
    const paper = await owner.createPaper((await owner.createProject()).id);
    const name = formatDocumentName({ kind: "notes", id: paper.id });
    const odd = update((doc) => doc.getMap("meta").set("big", [2n ** 60n, new Uint8Array(1), Number.NaN]));
    await server.app.collab.replace(name, odd, owner.user.id);
    assert.deepEqual(await owner.call("GET", `/documents/${encodeURIComponent(name)}?format=json`), {
      name,
      md: "",
      meta: { big: ["1152921504606846976", { 0: 0 }, null] },
    });
  });

  it("do not exist for strangers, wrong names and things that do not exist", async () => {
    const owner = await server.register();
    const stranger = await server.register();
    const project = await owner.createProject();
    const paper = await owner.createPaper(project.id);
    const hidden = (error: unknown) => error instanceof RestError && error.problem.code === "not_found";
    for (const name of [`notes:${paper.id}`, `brief:${project.id}`, `board:${project.id}`]) {
      assert.ok((await owner.document(name)).length > 0);
      await assert.rejects(stranger.document(name), hidden, name);
    }
    for (const name of [
      `notes:${newId()}`,
      `notes:${project.id}`,
      "notes:",
      "x",
      `anno:${paper.id}`,
      "notes:../../etc",
    ]) {
      await assert.rejects(owner.document(name), hidden, name);
    }
  });
});

describe("deletion", () => {
  it("is decided at once and finished after a restart when the store failed in between", async (t) => {
    const store = await openMemory();
    const broken = { now: false };
    const documents = new Proxy(store.documents, {
      get: (target, key, receiver) => {
        const value: unknown = Reflect.get(target, key, receiver);
        if (typeof value !== "function" || !broken.now) return value;
        return () => Promise.reject(new Error("the disk is on fire"));
      },
    });
    const app = await injected(t, { store: { ...store, documents } });
    const { accessToken: token, user } = await app.register();
    const project = (await app.call("POST /projects", { token, body: { name: "P" } })).body;
    const papers: string[] = [];
    for (const title of ["a", "b"]) {
      papers.push(
        (await app.call(`POST /projects/${project.id}/papers`, { token, body: { title } })).body.id,
      );
    }
    for (const id of papers) await app.collab.replace(`notes:${id}`, notes("text"), user.id);
    broken.now = true;
    assert.equal((await app.call(`DELETE /projects/${project.id}`, { token })).status, 204);
    assert.equal(codeOf(await app.call(`GET /papers/${papers[0]}`, { token })), "not_found");
    broken.now = false;

    const deletions = store.open({ name: "deletions", unique: [], indexes: [] });
    const tombstones = async () => (await deletions.find({ where: {}, limit: 9 })).length;
    assert.equal(await tombstones(), 1);
    const again = await injected(t, { store });
    assert.equal(await tombstones(), 0);
    for (const id of papers)
      await assert.rejects(again.collab.read(`notes:${id}`), { code: "document_deleted" });
    assert.equal(codeOf(await again.call(`GET /projects/${project.id}`, { token })), "not_found");
  });

  it("of a paper removes its notes", async (t) => {
    const app = await injected(t);
    const { accessToken: token, user } = await app.register();
    const project = (await app.call("POST /projects", { token, body: { name: "P" } })).body;
    const paper = (await app.call(`POST /projects/${project.id}/papers`, { token, body: { title: "T" } }))
      .body;
    await app.collab.replace(`notes:${paper.id}`, notes("text"), user.id);
    assert.equal((await app.call(`DELETE /papers/${paper.id}`, { token })).status, 204);
    await assert.rejects(app.collab.read(`notes:${paper.id}`), { code: "document_deleted" });
  });
});
