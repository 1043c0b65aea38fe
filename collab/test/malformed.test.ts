import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import * as encoding from "lib0/encoding";
import { MESSAGE, SYNC } from "@scriptorium/shared";
import { notesName, saved, until, type ProviderClient } from "./support/harness.ts";
import { step1, syncs, update, type RawClient } from "./support/raw-client.ts";
import { openStage, textUpdate, type Stage } from "./support/stage.ts";
import { writePresence } from "../src/presence.ts";
import { addressPrefix, authTokenMessage, awarenessMessage, syncMessage } from "../src/wire.ts";

/** Put into everything that is sent; nothing of it may reach the log. */
const MARK = "payload-mark";

/** Bytes from numbers and strings, as lib0 writes them. */
function bytes(...pieces: readonly (number | string | Uint8Array)[]): Uint8Array {
  const encoder = encoding.createEncoder();
  for (const piece of pieces) {
    if (typeof piece === "number") encoding.writeVarUint(encoder, piece);
    else if (typeof piece === "string") encoding.writeVarString(encoder, piece);
    else encoding.writeUint8Array(encoder, piece);
  }
  return encoding.toUint8Array(encoder);
}

const HUGE = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f);
const CUT = Uint8Array.of(0x80);

/** What follows the address, which y-websocket's dialect has not; all of it ends with 4400. */
const BODIES: Record<string, Uint8Array> = {
  "no type at all": new Uint8Array(),
  "a type that is cut off": CUT,
  "an unknown type": bytes(99, MARK),
  "a type beyond any integer": HUGE,
  "sync without a kind": bytes(MESSAGE.sync),
  "sync of an unknown kind": bytes(MESSAGE.sync, 7, MARK),
  "an update whose length is cut off": bytes(MESSAGE.sync, SYNC.update, CUT),
  "an update that claims more than there is": bytes(MESSAGE.sync, SYNC.update, 1_000, MARK),
  "an update of a length beyond any integer": bytes(MESSAGE.sync, SYNC.update, HUGE),
  "an update of no bytes": bytes(MESSAGE.sync, SYNC.update, 0),
  "an update of garbage": syncMessage(undefined, "update", Buffer.from(`\u0001\u0001${MARK}`)),
  "an update of 2^31 structs": syncMessage(undefined, "update", bytes(1, 2 ** 31, 1, 0)),
  "an update of more structs than an array can hold": syncMessage(
    undefined,
    "update",
    bytes(1, 2 ** 40, 1, 0),
  ),
  "an update of 2^31 clients": syncMessage(undefined, "update", bytes(2 ** 31, 1, 1, 0)),
  "an update cut in half": syncMessage(undefined, "update", textUpdate(MARK).subarray(0, 9)),
  "an answer of garbage": syncMessage(undefined, "step2", Uint8Array.of(5, 5, 5)),
  "a state vector that is cut off": syncMessage(undefined, "step1", Uint8Array.of(9, 1)),
  "a state vector of garbage": syncMessage(undefined, "step1", Uint8Array.of(0xff, 0xff, 0xff)),
  "a state vector of no bytes": syncMessage(undefined, "step1", new Uint8Array()),
  "presence of no bytes": bytes(MESSAGE.awareness, 0),
  "presence that is cut off": awarenessMessage(undefined, Uint8Array.of(1, 5)),
  "presence of 2^40 clients": awarenessMessage(undefined, bytes(2 ** 40, 1, 1, "{}")),
  "a message only a server may send": bytes(MESSAGE.syncStatus, 1),
  "a stateless message": bytes(MESSAGE.stateless, MARK),
  "a stateless broadcast": bytes(MESSAGE.broadcastStateless, MARK),
  "a ping with an address": bytes(MESSAGE.ping),
  "an authentication of an unknown kind": bytes(MESSAGE.auth, 9, MARK),
  "an authentication that is cut off": bytes(MESSAGE.auth, 0, 100, Buffer.from(MARK)),
};

/** Whole messages of the Hocuspocus dialect that are wrong before the type. */
const FRAMES: Record<string, Uint8Array> = {
  "an empty frame": new Uint8Array(),
  "an address that is cut off": CUT,
  "an address longer than the frame": bytes(1_000, MARK),
  "an address that is not UTF-8": Uint8Array.of(2, 0xc3, 0x28, 0),
  "an address of a length beyond any integer": HUGE,
};

interface Yard extends Stage {
  readonly ada: ProviderClient;
  undisturbed(): Promise<void>;
}

async function yard(t: TestContext): Promise<Yard> {
  const stage = await openStage(t, { limits: { messagesPerSecond: 10_000, messageBurst: 10_000 } });
  const strays: unknown[] = [];
  const stray = (error: unknown): void => void strays.push(error);
  process.on("uncaughtException", stray);
  process.on("unhandledRejection", stray);
  t.after(() => {
    process.off("uncaughtException", stray);
    process.off("unhandledRejection", stray);
  });
  const printed = t.mock.method(console, "error", () => undefined);
  const ada = stage.provider("ada");
  const bo = stage.yjs("bo");
  await saved(ada);
  await until(() => bo.provider.synced, "bo is synced");
  return {
    ...stage,
    ada,
    async undisturbed() {
      const before = ada.text.length;
      ada.text.insert(0, "a");
      bo.text.insert(0, "b");
      await saved(ada);
      await until(
        () => ada.text.length >= before + 2 && ada.text.toJSON() === bo.text.toJSON(),
        "equal texts",
      );
      assert.deepEqual([...ada.closes, ...bo.closes], []);
      assert.deepEqual(strays, []);
      assert.equal(printed.mock.callCount(), 0, "Hocuspocus prints what it cannot handle");
      assert.equal(await stage.freshText(), ada.text.toJSON());
      const { logged } = stage.harness;
      assert.equal(
        JSON.stringify(logged.map(({ fields, message }) => [fields, message])).includes(MARK),
        false,
      );
      assert.deepEqual(
        logged.filter(({ level }) => level === "error"),
        [],
      );
    },
  };
}

async function closedWith(client: RawClient, code: number, what: string): Promise<void> {
  await until(() => client.closed !== undefined, `${what}: closed`);
  assert.equal(client.closed?.code, code, what);
}

describe("malformed and unknown messages", () => {
  it("[LM5] on an open document close their sender with 4400, in both dialects", async (t) => {
    const stage = await yard(t);
    for (const [what, body] of Object.entries(BODIES)) {
      const [raw, bare] = [await stage.rawCollab(), await stage.rawYjs()];
      raw.send(Buffer.concat([addressPrefix(stage.name), body]));
      bare.send(body);
      await closedWith(raw, 4400, `${what}, Hocuspocus`);
      await closedWith(bare, 4400, `${what}, y-websocket`);
    }
    await stage.undisturbed();
    assert.ok(stage.harness.collab.stats().refusedFrames >= 2 * Object.keys(BODIES).length);
  });

  it("[LM5] end what their sender said before and after in one chunk of bytes: the one stays, the other is not read", async (t) => {
    const stage = await yard(t);
    const tcp = await stage.tcp(`/yjs/${encodeURIComponent(stage.name)}?token=mallory`);
    tcp.send(step1(undefined));
    await until(() => syncs(tcp, undefined).length === 2, "synced");
    tcp.socket.cork();
    tcp.send(update(undefined, textUpdate("before ")));
    // Yjs makes room for as many structs as an update claims: 100 MB for each of these dozen bytes.
    for (let i = 0; i < 500; i += 1) tcp.send(syncMessage(undefined, "update", bytes(1, 2 ** 24, 1, 0)));
    tcp.send(update(undefined, textUpdate("after ")));
    tcp.socket.uncork();
    await until(() => tcp.closeCode !== undefined, "closed");
    assert.equal(tcp.closeCode, 4400);
    await stage.undisturbed();
    assert.equal(await stage.freshText(), stage.ada.text.toJSON());
    assert.ok(stage.ada.text.toJSON().includes("before "));
    assert.equal(stage.ada.text.toJSON().includes("after "), false);
  });

  it("[LM5] with a damaged address close their sender with 4400, before and after it has opened a document", async (t) => {
    const stage = await yard(t);
    for (const [what, frame] of Object.entries(FRAMES)) {
      const [open, fresh] = [await stage.rawCollab(), await stage.socket("/collab")];
      open.send(frame);
      fresh.send(frame);
      await closedWith(open, 4400, what);
      await closedWith(fresh, 4400, what);
    }
    await stage.undisturbed();
  });

  it("[LM5] of text close their sender with 4400", async (t) => {
    const stage = await yard(t);
    const [raw, bare] = [await stage.rawCollab(), await stage.rawYjs()];
    raw.ws.send(MARK);
    bare.ws.send(MARK);
    await closedWith(raw, 4400, "text");
    await closedWith(bare, 4400, "text");
    await stage.undisturbed();
  });

  it("[LM5] an authentication that cannot be read closes its sender with 4400, whatever it is for", async (t) => {
    const stage = await yard(t);
    for (const name of [stage.name, notesName(), `${stage.name}\0session`]) {
      const fresh = await stage.socket("/collab");
      fresh.send(Buffer.concat([addressPrefix(name), bytes(MESSAGE.auth, 0, 100, Buffer.from(MARK))]));
      await closedWith(fresh, 4400, name);
    }
    await stage.undisturbed();
  });

  it("[AC8] [LM5] opens nothing under a name that is not exactly a document's, and denies it like one that does not exist", async (t) => {
    const stage = await yard(t);
    const absent = notesName();
    stage.harness.people.permissions.set(`mallory ${absent}`, "none");
    const id = stage.name.slice("notes:".length);
    const names = [
      "",
      " ",
      "notes:",
      `notes:${id} `,
      ` notes:${id}`,
      `notes:${id.toLowerCase()}`,
      `Notes:${id}`,
    ];
    names.push(`notes:${id}/../x`, `memo:${id}`, id, `notes:${id}:x`, "x".repeat(5_000), `notes:${id}\n`);
    names.push(
      "constructor",
      "__proto__",
      "toString",
      "hasOwnProperty",
      `__proto__\0session`,
      `\0${stage.name}`,
    );
    const answers = new Map<string, string>();
    for (const name of [absent, ...names]) {
      const raw = await stage.socket("/collab");
      raw.send(authTokenMessage(name, "mallory"));
      await until(() => raw.messages.length > 0 || raw.closed !== undefined, `an answer for ${name}`);
      const [first] = raw.messages;
      const afterAddress = first?.subarray(addressPrefix(name).length);
      answers.set(name, `${raw.closed?.code ?? "open"} ${Buffer.from(afterAddress ?? []).toString("hex")}`);
      raw.destroy();
    }
    assert.deepEqual([...new Set(answers.values())], [answers.get(absent)], JSON.stringify([...answers]));
    assert.equal(stage.harness.collab.stats().documents, 1);
    for (const name of names.filter((given) => given.trim() !== "")) {
      const bare = await stage.socket(`/yjs/${encodeURIComponent(name)}?token=mallory`);
      await until(() => bare.closed !== undefined, "refused");
      assert.equal(bare.messages.length, 0);
    }
    await stage.undisturbed();
  });

  it("[LM5] presence of a thousand strangers shows none of them", async (t) => {
    const stage = await yard(t);
    const entries = Array.from({ length: 1_000 }, (_, i) => ({
      client: 10_000 + i,
      clock: 1,
      state: JSON.stringify({ user: { name: MARK } }),
    }));
    const [raw, bare] = [await stage.rawCollab(), await stage.rawYjs()];
    raw.send(awarenessMessage(stage.name, writePresence(entries)));
    bare.send(awarenessMessage(undefined, writePresence(entries)));
    const carl = stage.provider("carl");
    await saved(carl);
    await stage.undisturbed();
    const shown = [...(carl.provider.awareness?.getStates().keys() ?? [])].filter(
      (id) => id >= 10_000 && id < 11_000,
    );
    assert.ok(shown.length <= 2, `${shown.length} strangers are shown`);
  });
});
