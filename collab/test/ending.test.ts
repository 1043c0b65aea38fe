import assert from "node:assert/strict";
import { once } from "node:events";
import { IncomingMessage } from "node:http";
import { describe, it } from "node:test";
import { WebSocket } from "ws";
import { saved, until } from "./support/harness.ts";
import { openStage, type } from "./support/stage.ts";

describe("stopping", () => {
  it("[EN1] commits what was accepted and closes every socket with 1012, spread out", async (t) => {
    const stage = await openStage(t);
    const { collab } = stage.harness;
    const clients = Array.from({ length: 4 }, (_, i) => stage.provider(`p${i}`, { reconnectMs: 60_000 }));
    const bare = stage.yjs("bo");
    for (const client of clients) await saved(client);
    await until(() => bare.provider.synced, "synced");
    stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
    const [first] = clients;
    assert.ok(first !== undefined);
    await type(first, ["accepted"]);
    await until(() => collab.stats().uncommitted === 1, "accepted");
    const openAtOnce: number[] = [];
    const stopped = collab.stop(3_000);
    stage.faulty.heal();
    const watch = setInterval(() => openAtOnce.push(collab.stats().sockets), 5);
    t.after(() => clearInterval(watch));
    await stopped;
    await until(() => [...clients, bare].every(({ closes }) => closes.length > 0), "all are closed");
    for (const { closes } of [...clients, bare]) assert.equal(closes[0], 1012);
    assert.ok(new Set(openAtOnce).size >= 4, `not all at once: ${[...new Set(openAtOnce)].join(" ")}`);
    assert.equal(await stage.freshText(), "accepted");
    assert.equal(first.provider.unsyncedChanges, 0, "and the author was told");
  });

  it("[EN1] new sockets are answered 503 while it stops", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada");
    await saved(ada);
    stage.faulty.inject({ kind: "stall" }, ["appendRows"]);
    await type(ada, ["x"]);
    await until(() => stage.harness.collab.stats().uncommitted === 1, "accepted");
    const stopped = stage.harness.collab.stop(2_000);
    const late = new WebSocket(`${stage.harness.url}/collab`);
    late.on("error", () => undefined);
    const [, response] = await once(late, "unexpected-response");
    assert.ok(response instanceof IncomingMessage);
    assert.equal(response.statusCode, 503);
    stage.faulty.heal();
    await stopped;
  });

  it("[EN1] ends even when the store hangs, and says what was lost", async (t) => {
    const stage = await openStage(t);
    const { collab, logged } = stage.harness;
    const ada = stage.provider("ada", { reconnectMs: 60_000 });
    await saved(ada);
    stage.faulty.inject({ kind: "stall" }, ["appendRows", "heads.append", "putPart"]);
    await type(ada, ["one", "two"]);
    await until(() => collab.stats().uncommitted > 0, "accepted");
    await collab.stop(400);
    assert.ok(stage.faulty.stalled > 0, "the store still hangs");
    await until(() => ada.closes.length > 0, "closed");
    assert.equal(ada.closes[0], 1012);
    assert.ok(ada.provider.unsyncedChanges > 0, "what was lost was never acknowledged");
    assert.ok(
      logged.some(({ level, message }) => level === "error" && message.includes("never acknowledged")),
    );
  });

  it("[EN1] leaves no socket behind", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada", { reconnectMs: 60_000 });
    const bo = stage.yjs("bo");
    await type(ada, ["text"]);
    await saved(ada);
    ada.provider.setAwarenessField("cursor", 1);
    await until(() => bo.provider.awareness.getStates().size === 2, "bo sees ada");
    await stage.harness.collab.stop(1_000);
    ada.destroy();
    bo.destroy();
    await until(() => stage.harness.collab.stats().sockets === 0, "all are gone");
    stage.harness.server.close();
    stage.harness.server.closeAllConnections();
    await until(() => left().length === 0, "nothing is left");
  });
});

/** What keeps the process alive, apart from the test runner itself. */
function left(): string[] {
  return process
    .getActiveResourcesInfo()
    .filter((kind) => kind === "TCPSocketWrap" || kind === "TCPServerWrap");
}
