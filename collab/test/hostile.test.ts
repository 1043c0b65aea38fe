import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as encoding from "lib0/encoding";
import * as Y from "yjs";
import { notesName, saved, until } from "./support/harness.ts";
import { awareness, type RawClient } from "./support/raw-client.ts";
import { openStage } from "./support/stage.ts";
import { writePresence } from "../src/presence.ts";
import { isWellFormed } from "../src/well-formed.ts";
import { addressPrefix, authTokenMessage, syncMessage } from "../src/wire.ts";

/** Numbers and strings as lib0 writes them: an update by hand. */
function bytes(...pieces: readonly (number | string)[]): Uint8Array {
  const encoder = encoding.createEncoder();
  for (const piece of pieces) {
    if (typeof piece === "number") encoding.writeVarUint(encoder, piece);
    else encoding.writeVarString(encoder, piece);
  }
  return encoding.toUint8Array(encoder);
}

const STRING = 4;
const LEFT = 128;
const ROOT = [1, "md"] as const;

/** Each can be decoded; Yjs takes them and throws later, some at every reading of the document. */
const IMPOSSIBLE: Record<string, Uint8Array> = {
  "a string of no length": bytes(1, 1, 7, 0, STRING, ...ROOT, "", 0),
  "garbage of no length": bytes(1, 1, 7, 0, 0, 0, 0),
  "a string to the right of itself": bytes(1, 1, 7, 0, STRING | LEFT, 7, 0, "x", 0),
  "a string within its own future": bytes(1, 1, 7, 0, STRING, 0, 7, 5, "x", 0),
  "a deletion of no length": bytes(0, 1, 7, 1, 0, 0),
};

/** Maps within maps, and the deletion of the outermost, which takes more stack than there is. */
function nested(depth: number): { maps: Uint8Array; deletion: Uint8Array } {
  const doc = new Y.Doc();
  doc.transact(() => {
    let map = doc.getMap("meta");
    for (let i = 0; i < depth; i += 1) {
      const inner = new Y.Map();
      map.set("k", inner);
      map = inner;
    }
  });
  return { maps: Y.encodeStateAsUpdate(doc), deletion: bytes(0, 1, doc.clientID, 1, 0, 1) };
}

describe("updates that Yjs can read and cannot bear", () => {
  it("[LM5] one that Yjs could not have made closes its sender with 4400 and changes nothing", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    await saved(ada);
    for (const [what, update] of Object.entries(IMPOSSIBLE)) {
      assert.doesNotThrow(() => Y.decodeUpdate(update), what);
      assert.equal(isWellFormed(update), false, what);
      const raw = await stage.rawCollab();
      raw.send(syncMessage(stage.name, "update", update));
      await until(() => raw.closed !== undefined, `${what}: closed`);
      assert.equal(raw.closed?.code, 4400, what);
    }
    ada.text.insert(0, "undisturbed");
    await saved(ada);
    assert.deepEqual(ada.closes, []);
    assert.equal(await stage.freshText(), "undisturbed");
  });

  it("[LM5] [DL1] one that breaks the document in memory is dropped with it, and the others go on from the store", async (t) => {
    const stage = await openStage(t);
    const strays: unknown[] = [];
    const stray = (error: unknown): void => void strays.push(error);
    process.on("uncaughtException", stray);
    t.after(() => process.off("uncaughtException", stray));
    const ada = stage.provider("ada");
    ada.text.insert(0, "before");
    await saved(ada);
    const raw = await stage.rawCollab();
    const { maps, deletion } = nested(20_000);
    raw.send(syncMessage(stage.name, "update", maps));
    await until(() => stage.harness.collab.stats().committedRows >= 2, "the maps are logged");
    // In the same turn of the event loop, so that ada's is applied after the one that breaks the document, or before.
    raw.send(syncMessage(stage.name, "update", deletion));
    ada.text.insert(6, " and meanwhile");
    await until(() => raw.closed !== undefined, "the sender is closed");
    assert.equal(raw.closed?.code, 4400);
    await until(() => ada.closes.length > 0, "ada starts over");
    assert.deepEqual(ada.closes.slice(0, 1), [1013]);
    await until(() => ada.provider.isSynced, "ada is back");
    ada.text.insert(0, "after ");
    await saved(ada);
    assert.equal(await stage.freshText(), "after before and meanwhile");
    assert.deepEqual(strays, []);
    assert.equal(stage.harness.logged.filter(({ level }) => level === "error").length, 1);
  });
});

describe("what is kept for a client that has shown nothing", () => {
  it("[LM1] an address is never longer than a name can be: 4400", async (t) => {
    const stage = await openStage(t);
    const fresh = await stage.socket("/collab");
    fresh.send(authTokenMessage("x".repeat(1_000_000), "mallory"));
    await until(() => fresh.closed !== undefined, "closed");
    assert.equal(fresh.closed?.code, 4400);
    const session = await stage.socket("/collab");
    session.send(authTokenMessage(`${stage.name}\0${"x".repeat(1_000_000)}`, "mallory"));
    await until(() => session.closed !== undefined, "closed");
    assert.equal(session.closed?.code, 4400);
  });

  it("[LM1] [LM2] authentications are read no faster than any other message", async (t) => {
    const stage = await openStage(t, { limits: { messagesPerSecond: 20, messageBurst: 20 } });
    let asked = 0;
    const { people } = stage.harness;
    const identify = people.identify.bind(people);
    people.identify = (token) => {
      asked += 1;
      return identify(token);
    };
    const fresh = await stage.socket("/collab");
    const name = notesName();
    people.permissions.set(`mallory ${name}`, "none");
    const started = performance.now();
    for (let sent = 0; sent < 60; sent += 1) {
      const before = fresh.messages.length;
      fresh.send(authTokenMessage(name, "mallory"));
      await until(() => fresh.messages.length > before && answers(fresh, name) > sent, "an answer");
    }
    assert.equal(asked, 60, "none is lost");
    assert.ok(performance.now() - started > 1_000, "sixty at twenty a second after a burst of twenty");
  });
});

function answers(client: RawClient, name: string): number {
  const prefix = addressPrefix(name);
  return client.messages.filter((message) => Buffer.from(message).indexOf(prefix) === 0).length;
}

describe("a presence clock at the end of the integers", () => {
  it("[PR2] does not hide the person whose client id it was shown with", async (t) => {
    const stage = await openStage(t);
    const bo = stage.yjs("bo");
    await until(() => bo.provider.synced, "bo is synced");
    const state = JSON.stringify({ here: true });
    const forged = await stage.rawCollab("mallory");
    forged.send(
      awareness(stage.name, writePresence([{ client: 55, clock: Number.MAX_SAFE_INTEGER, state }])),
      awareness(stage.name, writePresence([{ client: 56, clock: 1, state }])),
    );
    const states = bo.provider.awareness.getStates();
    await until(() => states.has(56), "mallory is shown");
    forged.destroy();
    await until(() => !states.has(56), "mallory is gone");
    const eve = await stage.rawCollab("eve");
    eve.send(awareness(stage.name, writePresence([{ client: 55, clock: 3, state }])));
    await until(() => states.has(55), "eve is seen");
  });
});

describe("a wall clock that jumps", () => {
  for (const hours of [-1, 1]) {
    it(`[LM6] by ${hours} hour closes nobody and delays no acknowledgement`, async (t) => {
      const wall = Date.now.bind(Date);
      let jumped = 0;
      t.mock.method(Date, "now", () => wall() + jumped);
      const stage = await openStage(t);
      for (const who of ["ada", "bo"]) stage.harness.people.expiresAt.set(who, wall() + 24 * 3_600_000);
      const [ada, bo] = [stage.provider("ada"), stage.yjs("bo")];
      ada.text.insert(0, "before");
      await saved(ada);
      await until(() => bo.text.toJSON() === "before", "bo reads");
      jumped = hours * 3_600_000;
      ada.text.insert(0, "after ");
      await saved(ada);
      // Two sweeps of the sockets.
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      bo.text.insert(0, "and ");
      await until(() => ada.text.toJSON() === "and after before", "ada reads");
      assert.deepEqual([...ada.closes, ...bo.closes], []);
      assert.equal(stage.harness.collab.stats().store, "healthy");
    });
  }
});
