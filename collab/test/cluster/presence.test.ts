import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import * as Y from "yjs";
import { encodeMessage, encodePresence } from "../../src/cluster/wire.ts";
import type { PresenceEntry } from "../../src/presence.ts";
import { saved, until, type ProviderClient, type YjsClient } from "../support/harness.ts";
import { openNodes, type Nodes } from "../support/nodes.ts";
import { type } from "../support/stage.ts";
import { equal, type Client } from "../support/two-nodes.ts";

function stateOf(by: Client, of: Client): unknown {
  return by.provider.awareness?.getStates().get(of.doc.clientID);
}

describe("presence on several nodes", () => {
  const seesEach = async (one: Client, other: Client): Promise<void> =>
    until(
      () => stateOf(one, other) !== undefined && stateOf(other, one) !== undefined,
      "they see each other",
    );

  async function withCarets(nodes: Nodes): Promise<{ ada: ProviderClient; bo: YjsClient }> {
    const ada = nodes.node(0).provider("ada");
    const bo = nodes.node(1).yjs("bo");
    await saved(ada);
    await until(() => bo.provider.synced, "bo is synced");
    ada.provider.setAwarenessField("cursor", 1);
    bo.provider.awareness.setLocalStateField("cursor", 2);
    await seesEach(ada, bo);
    return { ada, bo };
  }

  it("[CL7] [FX9] who leaves is gone from the other nodes at once, also the last one of a node", async (t) => {
    const nodes = await openNodes(t, { limits: { leaseMs: 600_000, presenceFanOutMs: 60_000 } });
    const ada = nodes.node(0).provider("ada");
    await saved(ada);
    ada.provider.setAwarenessField("cursor", 1);
    const bo = nodes.node(1).provider("bo");
    await until(() => stateOf(bo, ada) !== undefined, "a latecomer sees who is there");
    ada.destroy();
    await until(() => stateOf(bo, ada) === undefined, "ada is gone");
  });

  it("[CL7] the people of a node that dies are gone when its lease ends", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await withCarets(nodes);
    nodes.hub.mute(nodes.node(0).joined);
    await until(() => stateOf(bo, ada) === undefined, "ada is gone");
    // And they are there again when it was not dead after all.
    nodes.hub.cut(nodes.node(0).joined);
    nodes.hub.heal(nodes.node(0).joined);
    await seesEach(ada, bo);
  });

  it("[CL7] nobody stays as a ghost while the bus is away, and everybody is there again after it", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await withCarets(nodes);
    for (const node of nodes.all) nodes.cut(node);
    await until(
      () => stateOf(bo, ada) === undefined && stateOf(ada, bo) === undefined,
      "who cannot be heard is not shown",
    );
    for (const node of nodes.all) nodes.heal(node);
    await seesEach(ada, bo);
  });

  it("[CL8] who reconnects to another node keeps one caret, and the end of the old socket does not take it", async (t) => {
    const nodes = await openNodes(t, { count: 3 });
    const { ada, bo } = await withCarets(nodes);
    const cy = nodes.node(2).provider("cy");
    await saved(cy);
    await until(() => stateOf(cy, ada) !== undefined, "cy sees ada");
    // The same browser tab on another node, while its old socket is not closed yet.
    const again = nodes.node(1).provider("ada", { doc: ada.doc });
    await saved(again);
    // A provider that reconnects goes on counting; this one has to catch up with the other's count first.
    for (const cursor of [7, 6, 5, 4, 3]) again.provider.setAwarenessField("cursor", cursor);
    await until(() => JSON.stringify(stateOf(cy, again)).includes('"cursor":3'), "cy sees where ada is now");
    ada.destroy();
    await until(() => nodes.node(0).harness.collab.stats().sockets === 0, "the old socket is closed");
    await type(again, ["here"]);
    await equal("here", bo, cy);
    assert.ok(stateOf(bo, again) !== undefined && stateOf(cy, again) !== undefined);
  });

  it("[CL8] whoever goes to and fro between two nodes stays visible, and no clock runs away", async (t) => {
    const nodes = await openNodes(t);
    const bo = nodes.node(1).provider("bo");
    const cy = nodes.node(0).provider("cy");
    await Promise.all([saved(bo), saved(cy)]);
    const doc = new Y.Doc();
    const clockOf = (by: Client): number => by.provider.awareness?.meta.get(doc.clientID)?.clock ?? 0;
    const seen = (by: Client): boolean => by.provider.awareness?.getStates().has(doc.clientID) === true;
    for (let move = 0; move < 16; move += 1) {
      const ada = nodes.node(move % 2).provider("ada", { doc });
      await saved(ada);
      ada.provider.setAwarenessField("cursor", move);
      await until(() => seen(bo) && seen(cy), `everybody sees her after ${move} moves`);
      ada.destroy();
      await until(() => !seen(bo) && !seen(cy), "and that she has left");
    }
    const clock = Math.max(clockOf(bo), clockOf(cy));
    assert.ok(clock < 200, `the clock is ${clock}`);
  });

  it("[CL8] nobody takes the caret of another person, from whichever node", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await withCarets(nodes);
    const client = ada.doc.clientID;
    const thief = new Y.Doc();
    thief.clientID = client;
    const mallory = nodes.node(1).provider("mallory", { doc: thief });
    await saved(mallory);
    mallory.provider.setAwarenessField("cursor", 666);
    // Text that comes after the presence; written by a doc with an id of its own.
    const carl = nodes.node(1).provider("carl");
    await saved(carl);
    await type(carl, ["x"]);
    await equal("x", bo);
    const shown = JSON.stringify(bo.provider.awareness.getStates().get(client));
    assert.match(shown, /"id":"ada"/);
    assert.doesNotMatch(shown, /666/);
  });

  it("[CL4] [CL7] after a short outage of one node alone, which the others have not noticed, they see who is there", async (t) => {
    const nodes = await openNodes(t, { limits: { leaseMs: 600_000 } });
    const { ada, bo } = await withCarets(nodes);
    const { hub } = nodes;
    const { joined } = nodes.node(0);
    hub.cut(joined);
    const carl = nodes.node(0).provider("carl");
    await saved(carl);
    carl.provider.setAwarenessField("cursor", 3);
    ada.destroy();
    await until(() => stateOf(carl, ada) === undefined, "ada is gone where she was");
    assert.ok(
      stateOf(bo, ada) !== undefined && stateOf(bo, carl) === undefined,
      "bo has heard nothing of it",
    );
    hub.heal(joined);
    await until(() => stateOf(bo, ada) === undefined && stateOf(bo, carl) !== undefined, "bo knows");
  });

  describe("as other nodes tell it", () => {
    const CLIENT = 7;
    const shown = (user: string, clock: number): PresenceEntry => ({
      client: CLIENT,
      clock,
      state: JSON.stringify({ user: { id: user }, clock }),
    });

    /** Bo's node, and nodes "x" and "y" by their messages alone. */
    async function told(t: TestContext) {
      const nodes = await openNodes(t, { count: 1, limits: { leaseMs: 600_000 } });
      const bo = nodes.node(0).provider("bo");
      await saved(bo);
      const bus = nodes.hub.join();
      t.after(() => bus.close());
      for (const node of ["x", "y"])
        bus.publish(`updates:${nodes.name}`, encodeMessage({ type: "join", node, epoch: 1, last: 0 }));
      const say = (node: string, entry: PresenceEntry): void =>
        bus.publish(`presence:${nodes.name}`, encodePresence({ node, whole: false, entries: [entry] }));
      return { say, state: () => JSON.stringify(bo.provider.awareness?.getStates().get(CLIENT) ?? null) };
    }

    it("[CL8] a client id moves from node to node with its person, and with nobody else", async (t) => {
      const { say, state } = await told(t);
      say("x", shown("ada", 3));
      await until(() => state().includes("ada"), "ada is shown");
      say("y", shown("mallory", 2 ** 31));
      say("x", shown("ada", 4));
      await until(() => state().includes('"clock":4'), "ada goes on");
      assert.match(state(), /ada/);
      say("y", shown("ada", 5));
      await until(() => state().includes('"clock":5'), "she has moved");
    });

    it("[CL7] who has moved and leaves is gone, though the node before had shown a later clock", async (t) => {
      const { say, state } = await told(t);
      say("x", shown("ada", 11));
      await until(() => state().includes("ada"), "ada is shown");
      say("y", shown("ada", 10));
      say("y", { client: CLIENT, clock: 10, state: "null" });
      await until(() => state() === "null", "she is gone");
      // And is seen at once when she comes back with the clock that she left with.
      say("x", shown("ada", 10));
      await until(() => state().includes("ada"), "she is back");
    });
  });
});
