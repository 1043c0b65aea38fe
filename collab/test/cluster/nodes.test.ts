import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { seededFates } from "@scriptorium/shared/testing";
import * as Y from "yjs";
import { encodeBeat, encodeMessage, encodePresence } from "../../src/cluster/wire.ts";
import { compact } from "../../src/snapshot.ts";
import { createCompactor, DEFAULT_LIMITS } from "../../src/index.ts";
import { saved, until } from "../support/harness.ts";
import { openNodes, type Node, type NodesOptions } from "../support/nodes.ts";
import { textUpdate, type } from "../support/stage.ts";
import { equal, opened, shared, type Client } from "../support/two-nodes.ts";

function published(node: Node): number {
  return node.bus.stats().published;
}

describe("documents on several nodes", () => {
  it("[CL1] [FX7] one message carries what a commit has of a document, to however many nodes", async (t) => {
    const nodes = await openNodes(t, {
      count: 4,
      limits: { digestMs: 60_000, beatMs: 60_000, leaseMs: 600_000 },
    });
    const clients = nodes.all.map((node, i) => node.provider(`user${i}`));
    await Promise.all(clients.map(saved));
    await shared(nodes);
    // Joining is over when nobody has anything to answer any more.
    let before = { sum: -1, looks: 0 };
    await until(() => {
      const sum = nodes.all.reduce((total, node) => total + published(node), 0);
      before = { sum, looks: sum === before.sum ? before.looks + 1 : 0 };
      return before.looks === 60;
    }, "all have joined");
    const [author] = clients;
    assert.ok(author !== undefined);
    const counts = nodes.all.map(published);
    author.text.insert(0, "a");
    await equal("a", ...clients);
    assert.deepEqual(
      nodes.all.map((node, i) => published(node) - (counts[i] ?? 0)),
      [1, 0, 0, 0],
    );
  });

  it("[CL1] a document that no other node has open is not published at all", async (t) => {
    const nodes = await openNodes(t, { limits: { beatMs: 60_000, leaseMs: 600_000 } });
    const ada = nodes.node(0).provider("ada");
    await saved(ada);
    await until(
      () => published(nodes.node(0)) === 2,
      "it has said that it lives, and that it has the document",
    );
    await type(ada, ["one ", "two "]);
    await saved(ada);
    assert.equal(published(nodes.node(0)), 2);
  });

  it("[CL2] lost, late, doubled and reordered messages: both protocols converge on all nodes and in the store", async (t) => {
    const nodes = await openNodes(t, { count: 3 });
    nodes.hub.disturb(seededFates(20_261_121, { drop: 0.3, twice: 0.1, late: 0.3, lateMs: 40 }));
    const clients = nodes.all.flatMap((node, i) => [node.provider(`ada${i}`), node.yjs(`bo${i}`)]);
    await until(() => clients.every(({ provider }) => provider.synced), "all are synced");
    for (let round = 0; round < 15; round += 1)
      for (const [i, client] of clients.entries()) await type(client, [`${i}.${round} `]);
    const words = clients.flatMap((_, i) => Array.from({ length: 15 }, (__, round) => `${i}.${round}`));
    const complete = (client: Client): boolean => client.text.toJSON().split(" ").length === words.length + 1;
    await until(() => clients.every(complete), "everybody has every word", 30_000);
    nodes.hub.disturb(undefined);
    const [text] = clients.map((client) => client.text.toJSON());
    for (const client of clients) assert.equal(client.text.toJSON(), text);
    assert.deepEqual(text?.trim().split(" ").toSorted(), words.toSorted());
    await until(
      () => nodes.all.every(({ harness }) => harness.collab.stats().uncommitted === 0),
      "committed",
    );
    assert.equal(await nodes.freshText(), text);
  });

  it("[CL3] [FX5] without the bus edits are accepted and acknowledged, and the nodes converge through the log", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    for (const node of nodes.all) nodes.cut(node);
    ada.text.insert(0, "ada ");
    bo.text.insert(0, "bo ");
    await Promise.all([saved(ada), saved(bo)]);
    await until(() => ada.text.length === 7 && bo.text.length === 7, "they read each other's words");
    assert.equal(ada.text.toJSON(), bo.text.toJSON());
    assert.equal(nodes.node(0).harness.collab.stats().cluster?.polling, true);
  });

  it("[CL3] a node that alone is cut off from the bus is read by the others, and reads them", async (t) => {
    const nodes = await openNodes(t, { count: 3 });
    const { ada, bo } = await opened(nodes);
    const cy = nodes.node(2).yjs("cy");
    await until(() => cy.provider.synced, "cy is synced");
    nodes.cut(nodes.node(1));
    bo.text.insert(0, "b");
    await equal("b", ada, bo, cy);
    ada.text.insert(1, "a");
    await equal("ba", ada, bo, cy);
    // Compacted while it is away: what it has missed is in a part by then.
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const compactor = createCompactor();
    const done = await compact(
      { store: nodes.store, compactor, limits: DEFAULT_LIMITS, now: Date.now, log },
      nodes.name,
    );
    await compactor.stop();
    assert.equal(done.outcome, "base");
    cy.text.insert(2, "c");
    await equal("bac", ada, bo, cy);
  });

  it("[CL4] [FX8] when the bus comes back everybody converges without anybody typing", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    // Nobody knows of it: neither node reads the log meanwhile.
    for (const node of nodes.all) nodes.hub.cut(node.joined);
    for (const node of nodes.all) node.peers.others = new Set();
    ada.text.insert(0, "ada ");
    bo.text.insert(0, "bo ");
    await Promise.all([saved(ada), saved(bo)]);
    assert.notEqual(ada.text.toJSON(), bo.text.toJSON());
    for (const node of nodes.all) nodes.hub.heal(node.joined);
    await until(() => ada.text.length === 7 && bo.text.length === 7, "they read each other's words");
    assert.equal(ada.text.toJSON(), bo.text.toJSON());
  });

  it("[CL4] a document that was closed during an outage is told of when the bus is back", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    nodes.hub.cut(nodes.node(0).joined);
    ada.text.insert(0, "late");
    await saved(ada);
    ada.destroy();
    await until(() => nodes.node(0).harness.collab.stats().documents === 0, "it is closed on ada's node");
    assert.equal(bo.text.toJSON(), "");
    nodes.hub.heal(nodes.node(0).joined);
    await equal("late", bo);
  });

  it("[CL4] the last words of a document that was closed are told again when the bus did not take them", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    nodes.node(0).bus.full = true;
    await type(ada, ["last words"]);
    await saved(ada);
    ada.destroy();
    await until(() => nodes.node(0).harness.collab.stats().documents === 0, "the document is closed there");
    assert.equal(bo.text.toJSON(), "");
    nodes.node(0).bus.full = false;
    await equal("last words", bo);
  });

  it("[CL4] and are told by who opens it again, if it is opened again", async (t) => {
    const nodes = await openNodes(t, { limits: { digestMs: 600_000 } });
    const { ada, bo } = await opened(nodes);
    const { hub } = nodes;
    hub.disturb(() => "drop");
    await type(ada, ["last words"]);
    await saved(ada);
    ada.destroy();
    await until(() => nodes.node(0).harness.collab.stats().documents === 0, "the document is closed there");
    hub.disturb(undefined);
    assert.equal(bo.text.toJSON(), "");
    const again = nodes.node(0).provider("ada");
    await saved(again);
    await equal("last words", bo, again);
    const known = () => nodes.node(1).harness.collab.stats().cluster?.shared;
    assert.equal(known(), 1, "nobody has taken leave of an open document");
  });

  it("[CL4] and when the connection broke under them, so that nobody heard what the bus had taken", async (t) => {
    const nodes = await openNodes(t, { limits: { digestMs: 600_000 } });
    const { ada, bo } = await opened(nodes);
    const { hub } = nodes;
    const { joined, harness } = nodes.node(0);
    hub.disturb(() => "drop");
    await type(ada, ["last words"]);
    await saved(ada);
    ada.destroy();
    await until(() => harness.collab.stats().documents === 0, "the document is closed there");
    hub.disturb(undefined);
    assert.equal(bo.text.toJSON(), "");
    // What this node alone notices, and it has nothing open.
    hub.cut(joined);
    hub.heal(joined);
    await equal("last words", bo);
  });

  it("[CL4] a message that the bus did not take is made up for", async (t) => {
    const nodes = await openNodes(t);
    const ada = nodes.node(0).provider("ada");
    await saved(ada);
    // That bo's node has the document too is what nobody gets to hear.
    nodes.node(1).bus.full = true;
    const bo = nodes.node(1).provider("bo");
    await saved(bo);
    await until(() => nodes.node(1).bus.stats().dropped > 0, "a message is dropped");
    await type(ada, ["unheard"]);
    await saved(ada);
    nodes.node(1).bus.full = false;
    await equal("unheard", bo);
  });

  /** Two nodes, of which the second is answered by its store as if the first had never written, while `stale`. */
  async function openStale(t: TestContext, limits: NodesOptions["limits"]) {
    const store = { stale: false, failures: 0, answered: 0 };
    const nodes = await openNodes(t, {
      ...(limits && { limits }),
      storeOf: (place, whole) => ({
        ...whole,
        listRows: async (...call) => {
          if (place === 0 || !store.stale) return whole.listRows(...call);
          store.failures -= 1;
          if (store.failures >= 0) throw new Error("the store fails");
          store.answered += 1;
          return [];
        },
      }),
    });
    const { ada, bo } = await opened(nodes);
    store.stale = true;
    return { nodes, store, ada, bo, behind: () => nodes.node(1).harness.collab.stats().cluster?.behind };
  }

  it("[CL14] what was announced and is not listed by a store that answers from before is read again", async (t) => {
    const { nodes, store, ada, bo, behind } = await openStale(t, { confirmMs: 300 });
    nodes.node(0).bus.full = true;
    await type(ada, ["announced"]);
    await saved(ada);
    nodes.node(0).bus.full = false;
    // Until the gap counts as closed, though it is not.
    await until(() => store.answered > 0 && behind() === 0, "the log was read in vain");
    assert.equal(bo.text.toJSON(), "");
    store.stale = false;
    await equal("announced", bo);
  });

  it("[CL14] also when another reading has failed just before, and is made again sooner", async (t) => {
    const { nodes, store, ada, bo, behind } = await openStale(t, { confirmMs: 3_000, digestMs: 600_000 });
    store.failures = 1;
    nodes.hub.disturb(() => "drop");
    await type(ada, ["announced "]);
    await saved(ada);
    nodes.hub.disturb(undefined);
    await type(ada, ["more "]);
    await until(() => store.failures <= 0 && behind() === 1, "a reading has failed");
    await type(ada, ["still"]);
    await until(() => behind() === 0, "the gap counts as closed");
    const { answered } = store;
    await until(() => store.answered > answered, "what failed is made again");
    assert.notEqual(bo.text.toJSON(), ada.text.toJSON());
    store.stale = false;
    await equal(ada.text.toJSON(), bo);
  });

  it("[CL5] what another node shows is in the store: nothing is passed on before its commit", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    const carl = nodes.node(0).provider("carl");
    await saved(carl);
    nodes.node(0).faulty.inject({ kind: "stall" }, ["appendRows"]);
    ada.text.insert(0, "not yet");
    await equal("not yet", carl);
    await until(() => nodes.node(0).faulty.stalled === 1, "the commit hangs");
    bo.text.insert(0, "b");
    await saved(bo);
    await until(() => carl.text.toJSON().includes("b"), "messages do pass");
    assert.equal(bo.text.toJSON(), "b");
    nodes.node(0).faulty.heal();
    await until(() => bo.text.length === 8, "it is shown once it is committed");
    assert.equal(await nodes.freshText(), bo.text.toJSON());
  });

  it("[CL15] while another node has a document open commits follow each other sooner than when nobody waits", async (t) => {
    const nodes = await openNodes(t, { limits: { commitPaceMs: 600_000, sharedCommitPaceMs: 5 } });
    const { ada, bo } = await opened(nodes);
    for (const [count, word] of ["one ", "two ", "three "].entries()) {
      await type(ada, [word]);
      await until(() => bo.text.toJSON().split(" ").length === count + 2, `bo reads ${word}`);
    }
  });

  it("[CL6] [FX6] edits that two nodes accept while the store is slow are both in it, with nobody left", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    for (const { faulty } of nodes.all) faulty.inject({ kind: "stall" }, ["appendRows"]);
    ada.text.insert(0, "a");
    bo.text.insert(0, "b");
    await until(() => nodes.all.every(({ faulty }) => faulty.stalled === 1), "both commits hang");
    ada.destroy();
    bo.destroy();
    for (const { faulty } of nodes.all) faulty.heal();
    await until(() => nodes.all.every(({ harness }) => harness.collab.stats().documents === 0), "unloaded");
    assert.match(await nodes.freshText(), /^(ab|ba)$/);
  });

  it("[CL12] what a node committed and died before it could say is read by the others", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    nodes.hub.mute(nodes.node(0).joined);
    ada.text.insert(0, "last words");
    await saved(ada);
    await nodes.node(0).crash();
    await equal("last words", bo);
  });

  it("[CL10] a large update is announced, not sent", async (t) => {
    const nodes = await openNodes(t, { limits: { fanOutBytes: 1_000 } });
    const { ada, bo } = await opened(nodes);
    const before = nodes.node(0).bus.stats().publishedBytes;
    const reads = nodes.node(1).harness.collab.stats().cluster?.reads ?? 0;
    ada.text.insert(0, "x".repeat(100_000));
    await until(() => bo.text.length === 100_000, "bo has it");
    assert.ok(nodes.node(0).bus.stats().publishedBytes - before < 2_000);
    assert.ok((nodes.node(1).harness.collab.stats().cluster?.reads ?? 0) > reads);
  });

  it("[CL2] a document that is read over REST has what other nodes have acknowledged", async (t) => {
    const nodes = await openNodes(t);
    const { ada } = await opened(nodes);
    nodes.hub.disturb(() => "drop");
    await type(ada, ["acknowledged"]);
    await saved(ada);
    const doc = new Y.Doc();
    Y.applyUpdate(doc, await nodes.node(1).harness.collab.read(nodes.name));
    assert.equal(doc.getText("md").toJSON(), "acknowledged");
  });

  it("[CL13] a node whose clock is an hour ahead, and one whose clock is an hour behind, work with the others", async (t) => {
    const skew = [0, 3_600_000, -3_600_000];
    const nodes = await openNodes(t, {
      count: 3,
      now: (place) => () => Date.now() + (skew[place] ?? 0),
      limits: { compactRows: 20 },
    });
    // Tokens are judged by the clock of the node: that of the fast one must last longer.
    nodes.people.expiresAt.set("user1", Date.now() + 2 * 3_600_000);
    const clients = nodes.all.map((node, i) => node.provider(`user${i}`));
    await Promise.all(clients.map(saved));
    for (let round = 0; round < 30; round += 1)
      for (const [i, client] of clients.entries()) await type(client, [`${i}.${round} `]);
    await Promise.all(clients.map(saved));
    await until(() => clients.every((client) => client.text.toJSON().split(" ").length === 91), "all words");
    const [text] = clients.map((client) => client.text.toJSON());
    for (const client of clients) assert.equal(client.text.toJSON(), text);
    assert.equal(await nodes.freshText(), text);
  });
});

describe("messages that are not what they should be", () => {
  it("[CL9] malformed, foreign, replayed and damaged ones change nothing and are counted", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    await type(ada, ["before "]);
    await equal("before ", bo);
    const evil = nodes.hub.join();
    t.after(() => evil.close());
    const updates = `updates:${nodes.name}`;
    const presence = `presence:${nodes.name}`;
    const update = textUpdate("forged");
    const rows = encodeMessage({ type: "rows", node: "x", epoch: 1, first: 1, last: 1, update });
    const stats = () => nodes.node(1).harness.collab.stats().cluster;
    const refused = stats()?.refused ?? 0;
    const bad = [
      new Uint8Array(),
      new Uint8Array([9, 9, 9]),
      new Uint8Array(1_000).fill(255),
      rows.subarray(0, rows.length - 3),
      Uint8Array.from([...rows, 0]),
      encodeMessage({ type: "rows", node: "x", epoch: 1, first: 5, last: 2, update }),
      encodeMessage({
        type: "rows",
        node: "x",
        epoch: 1,
        first: 1,
        last: 1,
        update: new Uint8Array([1, 2, 3]),
      }),
    ];
    for (const bytes of bad) evil.publish(updates, bytes);
    evil.publish(presence, new Uint8Array([1, 2, 3]));
    evil.publish(
      presence,
      encodePresence({ node: "x", whole: true, entries: [{ client: 1, clock: 1, state: "{" }] }),
    );
    evil.publish("nodes", new Uint8Array([7]));
    await until(() => (stats()?.refused ?? 0) - refused === bad.length + 3, "all are counted");
    // Presence of a node that has never joined belongs to nobody who could take it away again.
    evil.publish(
      presence,
      encodePresence({ node: "y", whole: false, entries: [{ client: 1, clock: 1, state: "{}" }] }),
    );
    evil.publish("nodes", encodeBeat("y", true));
    // An old message again, of a node that is known.
    const again = stats()?.replayed ?? 0;
    const { id } = nodes.node(0);
    evil.publish(updates, encodeMessage({ type: "rows", node: id, epoch: 1, first: 1, last: 1, update }));
    await until(() => (stats()?.replayed ?? 0) === again + 1, "the repetition is counted");
    await type(ada, ["after"]);
    await equal("before after", ada, bo);
    assert.equal(bo.provider.awareness?.getStates().has(1), false);
  });

  it("[CL9] one of a later epoch that does not exist closes nobody", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    const evil = nodes.hub.join();
    t.after(() => evil.close());
    evil.publish(`updates:${nodes.name}`, encodeMessage({ type: "digest", node: "x", epoch: 7, last: 3 }));
    await type(ada, ["still here"]);
    await equal("still here", bo);
    assert.deepEqual([...ada.closes, ...bo.closes], []);
  });
});
