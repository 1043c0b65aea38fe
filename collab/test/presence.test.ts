import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { saved, until, type ProviderClient, type YjsClient } from "./support/harness.ts";
import { openStage, type Stage } from "./support/stage.ts";
import { awareness } from "./support/raw-client.ts";
import { readPresence, signState, writePresence } from "../src/presence.ts";

type Client = ProviderClient | YjsClient;

/** What a client sees of another. */
function seen(by: Client, of: { doc: { clientID: number } }): unknown {
  return by.provider.awareness?.getStates().get(of.doc.clientID);
}

function field(state: unknown, name: string): unknown {
  return typeof state === "object" && state !== null ? Reflect.get(state, name) : undefined;
}

async function ready(stage: Stage): Promise<{ ada: ProviderClient; bo: YjsClient }> {
  const ada = stage.provider("ada");
  const bo = stage.yjs("bo");
  await saved(ada);
  await until(() => bo.provider.synced, "bo is synced");
  // The state that y-protocols begins with has clock 0, which no other replica takes for news.
  ada.provider.setAwarenessField("here", true);
  bo.provider.awareness.setLocalStateField("here", true);
  await until(() => seen(ada, bo) !== undefined && seen(bo, ada) !== undefined, "they see each other");
  return { ada, bo };
}

const ADA = { id: "ada", name: "ADA", color: "#336699", colorLight: "#33669933" };
const BO = { id: "bo", name: "BO", color: "#336699", colorLight: "#33669933" };

describe("presence", () => {
  it("[PR1] name, colour and id come from the server, whatever the client sends", async (t) => {
    const stage = await openStage(t);
    const { ada, bo } = await ready(stage);
    ada.provider.setAwarenessField("user", { id: "bo", name: "Bo", color: "red" });
    ada.provider.setAwarenessField("cursor", { anchor: 3 });
    bo.provider.awareness.setLocalStateField("user", { id: "ada", name: "Ada" });
    await until(() => field(seen(bo, ada), "cursor") !== undefined, "bo sees ada's cursor");
    assert.deepEqual(field(seen(bo, ada), "user"), ADA);
    assert.deepEqual(field(seen(bo, ada), "cursor"), { anchor: 3 });
    await until(() => field(seen(ada, bo), "user") !== undefined, "ada sees bo");
    assert.deepEqual(field(seen(ada, bo), "user"), BO);
    const carl = stage.provider("carl");
    await until(() => seen(carl, ada) !== undefined && seen(carl, bo) !== undefined, "a latecomer sees both");
    assert.deepEqual(field(seen(carl, ada), "user"), ADA);
  });

  it("[PR2] a client cannot change or remove the presence of another person", async (t) => {
    const stage = await openStage(t);
    const { ada, bo } = await ready(stage);
    ada.provider.setAwarenessField("cursor", { anchor: 1 });
    await until(() => field(seen(bo, ada), "cursor") !== undefined, "bo sees ada's cursor");
    const [raw, bare] = [await stage.rawCollab("mallory"), await stage.rawYjs("mallory")];
    const client = ada.doc.clientID;
    for (const state of ["null", JSON.stringify({ cursor: "forged" })]) {
      for (const clock of [50, 2 ** 40]) {
        raw.send(awareness(stage.name, writePresence([{ client, clock, state }])));
        bare.send(awareness(undefined, writePresence([{ client, clock, state }])));
      }
    }
    // Mallory's own presence comes after the forged: once it is here, they have been dealt with.
    raw.send(awareness(stage.name, writePresence([{ client: 77, clock: 1, state: "{}" }])));
    bare.send(awareness(undefined, writePresence([{ client: 78, clock: 1, state: "{}" }])));
    const states = bo.provider.awareness.getStates();
    await until(() => states.has(77) && states.has(78), "mallory is shown");
    assert.deepEqual(field(seen(bo, ada), "cursor"), { anchor: 1 });
    assert.deepEqual(field(states.get(77), "user"), { ...ADA, id: "mallory", name: "MALLORY" });
    raw.destroy();
    bare.destroy();
    await until(() => !states.has(77) && !states.has(78), "mallory is gone");
    ada.provider.setAwarenessField("cursor", { anchor: 2 });
    await until(
      () => JSON.stringify(field(seen(bo, ada), "cursor")) === JSON.stringify({ anchor: 2 }),
      "ada's presence goes on",
    );
  });

  it("[PR3] a reconnect that overtakes the end of the old socket keeps its presence", async (t) => {
    const stage = await openStage(t);
    const { ada, bo } = await ready(stage);
    ada.provider.setAwarenessField("cursor", { anchor: 1 });
    await until(() => field(seen(bo, ada), "cursor") !== undefined, "bo sees ada's cursor");
    // The old socket: open for the server, forgotten by the client.
    const old = await stage.rawCollab("eve");
    const again = await stage.rawCollab("eve");
    const shown = (clock: number, cursor: number): Uint8Array =>
      awareness(stage.name, writePresence([{ client: 55, clock, state: JSON.stringify({ cursor }) }]));
    const states = bo.provider.awareness.getStates();
    old.send(shown(1, 1));
    await until(() => states.has(55), "eve is shown");
    again.send(shown(2, 2));
    await until(() => field(states.get(55), "cursor") === 2, "eve moves");
    let removed = false;
    bo.provider.awareness.on("change", (change: { removed: number[] }) => {
      if (change.removed.includes(55)) removed = true;
    });
    old.destroy();
    await until(() => stage.harness.collab.stats().sockets === 3, "the old socket is gone");
    ada.provider.setAwarenessField("cursor", { anchor: 2 });
    await until(
      () => JSON.stringify(field(seen(bo, ada), "cursor")) === JSON.stringify({ anchor: 2 }),
      "a round trip later",
    );
    assert.equal(removed, false);
    assert.equal(field(states.get(55), "cursor"), 2);
    again.destroy();
    await until(() => !states.has(55), "the end of the new one removes it");
  });

  it("[PR3] a client that was cut and comes back is seen again at once, without moving", async (t) => {
    const stage = await openStage(t);
    const { ada, bo } = await ready(stage);
    ada.provider.setAwarenessField("cursor", { anchor: 1 });
    await until(() => field(seen(bo, ada), "cursor") !== undefined, "bo sees ada's cursor");
    for (let round = 0; round < 3; round += 1) {
      ada.socket.disconnect();
      await until(() => seen(bo, ada) === undefined && ada.closes.length === round + 1, "ada is gone");
      void ada.socket.connect();
      await until(() => field(seen(bo, ada), "cursor") !== undefined, "ada is back");
      bo.provider.disconnect();
      await until(() => seen(ada, bo) === undefined, "bo is gone");
      bo.provider.connect();
      await until(() => seen(ada, bo) !== undefined, "bo is back");
    }
    ada.provider.setAwarenessField("cursor", { anchor: 9 });
    await until(
      () => JSON.stringify(field(seen(bo, ada), "cursor")) === JSON.stringify({ anchor: 9 }),
      "and moves as before",
    );
  });

  it("[PR4] presence that comes too fast is coalesced to the latest", async (t) => {
    const stage = await openStage(t, { limits: { awarenessPerSecond: 5 } });
    const { ada, bo } = await ready(stage);
    let changes = 0;
    bo.provider.awareness.on("change", (change: { updated: number[] }) => {
      if (change.updated.includes(ada.doc.clientID)) changes += 1;
    });
    const startedAt = performance.now();
    for (let anchor = 1; anchor <= 200; anchor += 1) {
      ada.provider.setAwarenessField("cursor", { anchor });
      if (anchor % 2 === 0) await delay(5);
    }
    await until(
      () => JSON.stringify(field(seen(bo, ada), "cursor")) === JSON.stringify({ anchor: 200 }),
      "bo sees the latest",
    );
    // Five a second, and one more at either end.
    const most = 2 + ((performance.now() - startedAt) / 1_000) * 5;
    assert.ok(changes <= most, `${changes} changes were passed on, ${most.toFixed(1)} may be`);
    assert.deepEqual(ada.closes, []);
  });

  it("[PR5] a closed socket's presence is gone, in both dialects", async (t) => {
    const stage = await openStage(t);
    const { ada, bo } = await ready(stage);
    const carl = stage.provider("carl");
    const dora = stage.yjs("dora");
    carl.provider.setAwarenessField("here", true);
    dora.provider.awareness.setLocalStateField("here", true);
    await until(() => seen(ada, carl) !== undefined && seen(ada, dora) !== undefined, "they are seen");
    carl.socket.webSocket?.close();
    carl.destroy();
    dora.provider.ws?.close();
    dora.destroy();
    await until(() => seen(ada, carl) === undefined && seen(bo, carl) === undefined, "carl is gone");
    await until(() => seen(ada, dora) === undefined && seen(bo, dora) === undefined, "dora is gone");
    assert.ok(seen(ada, bo) !== undefined);
  });
});

describe("presence on the wire", () => {
  const identity = { userId: "u", sessionId: "s", name: "Name", color: "#123456", expiresAt: 0 };
  const entry = fc.record(
    {
      client: fc.nat({ max: 2 ** 32 - 1 }),
      clock: fc.nat({ max: 2 ** 32 - 1 }),
      state: fc.string({ unit: "grapheme", maxLength: 50 }),
    },
    { noNullPrototype: true },
  );

  it("[PR1] entries survive writing and reading", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 16 }), (entries) => {
        assert.deepEqual(readPresence(writePresence(entries)), entries);
      }),
      { seed: 20_260_501 },
    );
  });

  it("[LM5] bytes that are no presence are undefined, never an exception", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const entries = readPresence(bytes);
        assert.ok(entries === undefined || Array.isArray(entries));
      }),
      { seed: 20_260_502, numRuns: 500 },
    );
  });

  it("[PR1] a signed state keeps every field but the user, who is always the authenticated one", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue()),
        fc.jsonValue(),
        (fields, user) => {
          const signed: unknown = JSON.parse(signState(JSON.stringify({ ...fields, user }), identity) ?? "");
          const { userId: id, name, color } = identity;
          assert.deepEqual(field(signed, "user"), { id, name, color, colorLight: `${color}33` });
          for (const key of Object.keys(fields).filter((name_) => name_ !== "user" && name_ !== "__proto__"))
            assert.deepEqual(field(signed, key), JSON.parse(JSON.stringify(fields[key])));
        },
      ),
      { seed: 20_260_503 },
    );
  });

  it("[PR1] what is not an object and not null cannot be signed", () => {
    for (const state of ["1", '"text"', "[1]", "true", "{", "", "undefined"])
      assert.equal(signState(state, identity), undefined);
    assert.equal(signState("null", identity), "null");
  });
});
