import assert from "node:assert/strict";
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { createCollab, createCompactor, type Collab, type DocumentStore } from "@scriptorium/collab";
import { startServer } from "@scriptorium/server/testing";
import * as Y from "yjs";
import type { ReadCalls, WriteCalls } from "../src/storage/adapters/sqlite/calls.ts";
import { sqliteDocuments } from "../src/storage/adapters/sqlite/documents.ts";
import type { Lane } from "../src/storage/adapters/sqlite/lane.ts";
import { openReader, type Reader } from "../src/storage/adapters/sqlite/reader.ts";
import { sqliteStreams } from "../src/storage/adapters/sqlite/streams.ts";
import { audit, missingUpdates } from "./support/audit.ts";
import { seeded } from "./support/random.ts";
import { until } from "./support/site.ts";
import { openHocuspocus, type Typist } from "./support/typists.ts";

/** The power-cut model at the level of documents: real edits over real sockets, then the log ends at any byte. */

const DATABASE = "scriptorium.db";
const WAL = `${DATABASE}-wal`;
/** SQLite's file format, 4.1: a header, then frames, each with a header of its own. */
const WAL_HEADER = 32;
const FRAME_HEADER = 24;

interface Scene {
  /** User name of the documents' owner. */
  readonly owner: string;
  /** The store's files as they were on the disk when the power went. */
  readonly dir: string;
  readonly typists: readonly Typist[];
  /** Length of the WAL when everything of `promisedBefore` was acknowledged. */
  readonly lengthBefore: number;
  readonly promisedBefore: ReadonlyMap<Typist, readonly Uint8Array[]>;
}

/** Two people write two documents, word by word, then a burst; the files are taken from under the running server. */
async function writeAndCut(t: TestContext, dir: string): Promise<Scene> {
  const live = join(dir, "live");
  const cut = join(dir, "cut");
  mkdirSync(cut);
  const server = await startServer({ dir: live });
  t.after(() => server.stop());
  const owner = await server.register();
  const project = await owner.createProject();
  const random = seeded(7);
  const typists: Typist[] = [];
  for (const name of ["ada", "bo"]) {
    const document = `notes:${(await owner.createPaper(project.id)).id}`;
    const { accessToken: token } = owner;
    typists.push(openHocuspocus({ name, wsUrl: server.wsUrl, document, token, random: random.fork() }));
  }
  const settled = () => until(() => typists.every((typist) => typist.settled), "all is acknowledged");
  await settled();
  for (let round = 0; round < 8; round += 1) {
    for (const typist of typists) typist.type();
    await settled();
  }
  const lengthBefore = statSync(join(live, WAL)).size;
  const promisedBefore = new Map(typists.map((typist) => [typist, [...typist.promised]]));
  for (let i = 0; i < 70; i += 1) for (const typist of typists) typist.type();
  await settled();
  for (const file of [DATABASE, WAL]) copyFileSync(join(live, file), join(cut, file));
  for (const typist of typists) typist.destroy();
  return { owner: owner.user.username, dir: cut, typists, lengthBefore, promisedBefore };
}

/** Where transactions end: the frame that closes one says how large the database is then. */
function commitsIn(wal: Buffer): number[] {
  const frame = FRAME_HEADER + wal.readUInt32BE(8);
  const ends: number[] = [];
  for (let at = WAL_HEADER; at + frame <= wal.length; at += frame)
    if (wal.readUInt32BE(at + 4) !== 0) ends.push(at + frame);
  return ends;
}

const SILENT = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** The collaboration room over a store whose files can be changed between two reads. */
function openCollab(t: TestContext): {
  collab: Collab;
  look: <T>(dir: string, work: () => Promise<T>) => Promise<T>;
} {
  let reader: Reader | undefined;
  const stats = () => ({ commits: 0, calls: 0, storedBytes: 0, queuedCalls: 0, queuedBytes: 0 });
  const lane: Lane<ReadCalls> = {
    start: async () => undefined,
    stop: async () => undefined,
    stats,
    call: async (kind, input) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as lane.ts posts it: kind and input belong together
      const request = { id: 1, kind, input } as Parameters<Reader["run"]>[0][number];
      const [answer] = reader?.run([request]).answers ?? [];
      if (answer === undefined || "error" in answer) throw new Error(answer?.error.message ?? "no answer");
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the reader answers what was asked
      return answer.value as never;
    },
  };
  const writer: Lane<WriteCalls> = {
    start: async () => undefined,
    stop: async () => undefined,
    stats,
    call: () => Promise.reject(new Error("reading writes nothing")),
  };
  const store: DocumentStore = sqliteDocuments({
    heads: sqliteStreams(writer, lane),
    writer,
    reader: lane,
    now: Date.now,
  });
  const collab = createCollab({
    store,
    access: {
      identify: () => Promise.reject(new Error("nobody comes in")),
      permission: async () => "none",
      isLive: async () => false,
    },
    compactor: createCompactor(),
    log: SILENT,
    now: Date.now,
    allowOrigin: () => false,
  });
  t.after(() => collab.stop(1_000));
  return {
    collab,
    look: async (dir, work) => {
      // Without the shared-memory index, as after a power cut: it is rebuilt from the WAL.
      rmSync(join(dir, `${DATABASE}-shm`), { force: true });
      const opened = openReader({ dir });
      reader = opened;
      try {
        return await work();
      } finally {
        opened.close();
      }
    },
  };
}

describe("a power cut", () => {
  it("[DL7] at any byte of the last commit group leaves each document as it was before it", async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "scriptorium-cut-"));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const scene = await writeAndCut(t, dir);
    const file = join(scene.dir, WAL);
    const wal = readFileSync(file);
    const { collab, look } = openCollab(t);
    const read = () =>
      look(scene.dir, () => Promise.all(scene.typists.map(({ document }) => collab.read(document))));

    const ends = commitsIn(wal).filter((end) => end >= scene.lengthBefore);
    assert.equal(ends[0], scene.lengthBefore);
    assert.equal(ends.at(-1), wal.length);
    assert.ok(ends.length >= 2, "the burst was committed");
    const atCommit = new Map<number, Uint8Array[]>();
    for (const end of ends) {
      writeFileSync(file, wal.subarray(0, end));
      const states = await read();
      for (const [i, typist] of scene.typists.entries()) assertSound(states[i], { typist, scene });
      atCommit.set(end, states);
    }
    assert.notDeepEqual(atCommit.get(scene.lengthBefore), atCommit.get(wal.length));
    for (const [i, typist] of scene.typists.entries())
      assert.equal(
        missingUpdates(docOf(atCommit.get(wal.length)?.[i]), typist.promised),
        0,
        "uncut, all is there",
      );

    writeFileSync(file, wal);
    for (let length = wal.length - 1; length >= scene.lengthBefore; length -= 1) {
      truncateSync(file, length);
      const whole = ends.findLast((end) => end <= length) ?? 0;
      assert.deepEqual(await read(), atCommit.get(whole), `WAL cut at byte ${length} of ${wal.length}`);
    }
    t.diagnostic(`${wal.length - scene.lengthBefore} cuts over ${ends.length - 1} commits`);

    for (const length of [scene.lengthBefore + 1, wal.length - 1, (scene.lengthBefore + wal.length) >> 1])
      await assertGoesOn(t, { scene, wal: wal.subarray(0, length), dir: join(dir, `at-${length}`) });
  });
});

/** Nothing of before the last groups is missing, nothing is doubled, nothing is there that nobody typed. */
function assertSound(state: Uint8Array | undefined, of: { typist: Typist; scene: Scene }): void {
  const doc = docOf(state);
  assert.equal(missingUpdates(doc, of.scene.promisedBefore.get(of.typist) ?? []), 0);
  const { doubled, strange } = audit(doc, [of.typist]);
  assert.deepEqual({ doubled, strange }, { doubled: [], strange: [] });
}

/** A server that starts on what is left takes up the documents, and an author who comes back brings what was cut off. */
async function assertGoesOn(
  t: TestContext,
  of: { scene: Scene; wal: Uint8Array; dir: string },
): Promise<void> {
  mkdirSync(of.dir);
  copyFileSync(join(of.scene.dir, DATABASE), join(of.dir, DATABASE));
  writeFileSync(join(of.dir, WAL), of.wal);
  const server = await startServer({ dir: of.dir });
  t.after(() => server.stop());
  const { wsUrl } = server;
  const owner = await server.login(of.scene.owner);
  for (const { name, document, doc, text } of of.scene.typists) {
    const again = openHocuspocus({
      name: `${name}-again`,
      wsUrl,
      document,
      token: owner.accessToken,
      random: seeded(8),
      doc,
    });
    t.after(() => again.destroy());
    again.type();
    await until(() => again.settled, "the author is settled");
    assert.equal(await owner.markdown(document), text.toJSON());
    again.destroy();
  }
  await server.stop();
}

function docOf(state: Uint8Array | undefined): Y.Doc {
  const doc = new Y.Doc();
  if (state !== undefined) Y.applyUpdate(doc, state);
  return doc;
}
