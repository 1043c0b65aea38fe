import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { applyStored, createCompactor, headStream, loadDocument } from "@scriptorium/collab";
import * as Y from "yjs";
import { backUp } from "../../src/admin/backup.ts";
import { move } from "../../src/admin/move.ts";
import type { Piece } from "../../src/admin/piece.ts";
import { piecesOf } from "../../src/admin/pieces.ts";
import { restore, type Restored } from "../../src/admin/restore.ts";
import { createMembers } from "../../src/projects/members.ts";
import { openMemoryArchive } from "../../src/storage/adapters/memory/archive.ts";
import type { Holding, Target } from "../../src/storage/archive.ts";
import type { CollectionSpec, Doc } from "../../src/storage/ports.ts";
import { removeDir, temporaryDir } from "../storage/temporary-store.ts";

const PROJECT = "01J00000000000000000000001";
const PAPERS = ["01J00000000000000000000002", "01J00000000000000000000003"];
const NOTES = PAPERS.map((id) => `notes:${id}`);
const PLAIN = { unique: [], indexes: [] };
const USERS: CollectionSpec = { name: "users", unique: [["usernameKey"]], indexes: [] };

const same = (pieces: AsyncIterable<Piece>): AsyncIterable<Piece> => pieces;

async function insert(
  to: Holding,
  spec: CollectionSpec,
  ...docs: readonly (Doc & Record<string, unknown>)[]
) {
  for (const doc of docs) await to.store.open(spec).insert(doc);
}

/** A small installation: two people, a project, two papers of which one has notes, and a removed paper's notes. */
async function filled(): Promise<Target> {
  const holding = await openMemoryArchive();
  const { streams, documents, open } = holding.store;
  await insert(holding, USERS, { id: "ada", usernameKey: "ada" }, { id: "bo", usernameKey: "bo" });
  await insert(holding, { name: "projects", ...PLAIN }, { id: PROJECT });
  await insert(holding, { name: "papers", ...PLAIN }, ...PAPERS.map((id) => ({ id })));
  await insert(holding, { name: "sessions", ...PLAIN }, { id: "s1", userId: "ada" });
  await insert(holding, { name: "nodes", ...PLAIN }, { id: "node", beat: 1 });
  const members = createMembers({ open, streams, now: () => 1 });
  await members.create(PROJECT, "ada");
  await members.change(PROJECT, "ada", { type: "add", userId: "bo", role: "editor" });
  for (const name of ["keys:secret", "refresh:s1", "installation", "control", "claims:first-account"])
    await streams.append(name, { at: 1, entry: { of: name } });
  const doc = new Y.Doc();
  doc.getText("md").insert(0, "kept");
  const row = { epoch: 1, node: "n", seq: 1, at: 1, by: "ada", update: Y.encodeStateAsUpdate(doc) };
  await documents.appendRows([{ ...row, document: NOTES[0] ?? "" }]);
  const deleted = { epoch: 2, parts: [], retired: [5], deleted: true };
  await streams.append(headStream("notes:gone"), { at: 2, entry: deleted });
  return holding;
}

async function textIn({ store }: Holding, name: string): Promise<string> {
  const { parts, rows } = await loadDocument(store.documents, name);
  const doc = new Y.Doc();
  applyStored(doc, { parts, updates: rows.map(({ update }) => update) }, undefined);
  return doc.getText("md").toJSON();
}

async function namesIn({ archive }: Holding): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of archive.streams()) if (!name.startsWith("head:")) names.push(name);
  return names.toSorted();
}

/** A target that counts what becomes of it. */
async function target(
  change: Partial<Target["archive"]> = {},
): Promise<Target & { readonly ends: string[] }> {
  const memory = await openMemoryArchive();
  const ends: string[] = [];
  return {
    ...memory,
    archive: { ...memory.archive, ...change },
    ends,
    close: async () => void ends.push("closed"),
    finish: async () => void ends.push("finished"),
  };
}

describe("backup and restore", () => {
  const compactor = createCompactor();
  let dir: string;
  let files = 0;
  before(async () => {
    dir = await temporaryDir();
  });
  after(async () => {
    await compactor.stop();
    await removeDir(dir);
  });

  async function backedUp(from: Holding): Promise<string> {
    const path = join(dir, `backup-${(files += 1)}`);
    await backUp(path, { open: async () => from, store: "memory", now: () => 0, watch: same });
    return path;
  }

  function restored(path: string, to: Target, signEveryoneOut = false): Promise<Restored> {
    const deps = { open: async () => to, compactor, now: () => 1, watch: same };
    return restore(path, deps, { signEveryoneOut });
  }

  it("gives every document of a project a new epoch, written in or not, and leaves a removed one removed", async () => {
    const to = await target();
    const { totals } = await restored(await backedUp(await filled()), to);
    assert.deepEqual(to.ends, ["finished"]);
    assert.equal(totals["documents"]?.count, 2);
    assert.deepEqual(await Promise.all(NOTES.map((name) => textIn(to, name))), ["kept", ""]);
    const possible = [...NOTES, `brief:${PROJECT}`, `board:${PROJECT}`];
    const heads = await Promise.all(possible.map((name) => loadDocument(to.store.documents, name)));
    const epochs = new Set(heads.map(({ head }) => head.epoch));
    assert.equal(epochs.size, 1);
    assert.ok(Math.min(...epochs) > 2 ** 20);
    assert.equal((await loadDocument(to.store.documents, "notes:gone")).head.deleted, true);
  });

  it("keeps who is signed in, but not which installation it was, and nothing of nodes that ran", async () => {
    const to = await target();
    await restored(await backedUp(await filled()), to);
    const kept = ["claims:first-account", "keys:secret", `members:${PROJECT}`, "refresh:s1"];
    assert.deepEqual(await namesIn(to), kept);
    const collections = (await to.archive.collections()).map(({ name }) => name);
    assert.deepEqual(collections.toSorted(), ["memberships", "papers", "projects", "sessions", "users"]);
  });

  it("leaves out sessions and keys when everybody is to sign in again", async () => {
    const to = await target();
    await restored(await backedUp(await filled()), to, true);
    assert.deepEqual(await namesIn(to), ["claims:first-account", `members:${PROJECT}`]);
    const collections = (await to.archive.collections()).map(({ name }) => name);
    assert.deepEqual(collections.toSorted(), ["memberships", "papers", "projects", "users"]);
  });

  it("lists a project for a member who was being taken out while the backup was written", async () => {
    const from = await filled();
    await from.store
      .open<Doc & { userId: string }>({
        name: "memberships",
        unique: [["userId", "projectId"]],
        indexes: [["userId"], ["projectId"]],
      })
      .removeWhere({ userId: "bo" });
    const to = await target();
    await restored(await backedUp(from), to);
    const { open, streams } = to.store;
    const members = createMembers({ open, streams, now: () => 2 });
    for (const userId of ["ada", "bo"]) {
      const rows = await members.projectsOf(userId, { limit: 10 });
      assert.deepEqual(
        rows.map(({ projectId }) => projectId),
        [PROJECT],
      );
    }
  });

  it("begins anew when somebody takes a name that another gave up while users were read, and does not go on for ever", async () => {
    const from = await filled();
    let readings = 0;
    const renamedDuring = (times: number): Holding => ({
      ...from,
      archive: {
        ...from.archive,
        async *docs(collection) {
          yield* from.archive.docs(collection);
          if (collection === "users" && (readings += 1) <= times)
            yield { id: "carl", usernameKey: "ada" } as Doc;
        },
      },
    });
    await backedUp(renamedDuring(2));
    assert.equal(readings, 3);
    readings = 0;
    await assert.rejects(backedUp(renamedDuring(3)), /users were changed while they were read/);
    const left = (await readdir(dir)).filter((name) => name.includes("unfinished"));
    assert.deepEqual(left, [], "a backup that failed leaves nothing behind");
  });

  it("opens nothing for a file that is damaged", async () => {
    const path = join(dir, "damaged");
    await writeFile(
      path,
      "scriptorium-bak\n\x01\0\0\0 and more than that, for what it is worth, and yet more",
    );
    const deps = { open: () => assert.fail("opened"), compactor, now: () => 1, watch: same };
    await assert.rejects(restore(path, deps, { signEveryoneOut: false }), /damaged or not complete/);
  });

  it("does not finish a store that has not kept everything", async () => {
    const from = await filled();
    const forgetful = await target({ addDocs: async () => undefined });
    await assert.rejects(restored(await backedUp(from), forgetful), /users: 0 instead of 2/);
    assert.deepEqual(forgetful.ends, ["closed"]);
    const moved = await target({ addStreams: async () => undefined });
    const moving = move({
      source: from,
      installation: "x",
      open: async () => moved,
      watch: same,
      onMoved: () => assert.fail("told"),
    });
    await assert.rejects(moving, /streams: 0 instead of/);
    assert.deepEqual(moved.ends, ["closed"]);
  });

  it("moves everything as it is, epochs included, but not which installation it was", async () => {
    const from = await filled();
    const to = await target();
    let told = 0;
    const onMoved = async (): Promise<void> => {
      assert.deepEqual(to.ends, [], "nobody is let in yet");
      told += 1;
    };
    await move({ source: from, installation: "x", open: async () => to, watch: same, onMoved });
    assert.deepEqual([told, to.ends], [1, ["finished"]]);
    const names = ["claims:first-account", "keys:secret", `members:${PROJECT}`, "refresh:s1"];
    assert.deepEqual(await namesIn(to), names);
    const read = (name: string, { store }: Holding) => loadDocument(store.documents, name);
    for (const name of [...NOTES, "notes:gone"])
      assert.deepEqual(await read(name, to), await read(name, from));
  });

  it("misses no document whose rows are compacted away between the two listings that name documents", async () => {
    const from = await filled();
    const [name = ""] = NOTES;
    const { documents } = from.store;
    const compactedOnce = async (): Promise<void> => {
      const rows = await documents.readRows(name, 1);
      if (rows.length === 0) return;
      const body = await compactor.merge({
        kind: "base",
        parts: [],
        updates: rows.map(({ update }) => update),
      });
      await documents.putPart({ id: "p", document: name, body });
      const head = {
        epoch: 1,
        parts: [{ id: "p", bytes: body.length, level: 0 }],
        retired: [],
        deleted: false,
      };
      await documents.heads.append(headStream(name), { at: 1, entry: head });
      await documents.removeRows(rows);
    };
    const archive: Holding["archive"] = {
      ...from.archive,
      async *documents() {
        if ((await documents.readRows(name, 1)).length > 0) yield name;
        await compactedOnce();
      },
      async *streamNames(prefix) {
        yield* from.archive.streamNames(prefix);
        await compactedOnce();
      },
    };
    const to = await target();
    await restored(await backedUp({ ...from, archive }), to);
    assert.equal(await textIn(to, name), "kept");
  });

  it("reads what names something before what it names", async () => {
    const order: string[] = [];
    for await (const piece of piecesOf(await filled())) {
      const name = piece.kind === "docs" ? piece.spec.name : piece.kind;
      if (order.at(-1) !== name) order.push(name);
    }
    assert.deepEqual(order, [
      "document",
      "streams",
      "memberships",
      "papers",
      "sessions",
      "projects",
      "users",
    ]);
  });
});
