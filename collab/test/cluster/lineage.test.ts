import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { until } from "../support/harness.ts";
import { openNodes } from "../support/nodes.ts";
import { textUpdate, type } from "../support/stage.ts";
import { equal, opened } from "../support/two-nodes.ts";

describe("a lineage that ends on one node", () => {
  it("[CL11] ends on the others: their clients are told to start over, and what they wrote is nowhere", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    await type(bo, ["old "]);
    await equal("old ", ada, bo);
    await nodes.node(0).harness.collab.replace(nodes.name, textUpdate("new"), "ada");
    // The node was not told: it hears of the new epoch from the first node that opens it.
    const carl = nodes.node(0).provider("carl");
    await equal("new", carl);
    await until(() => bo.closes.includes(4410), "bo is told");
    assert.ok(bo.notices.some((notice) => JSON.stringify(notice).includes("reset")));
    await until(() => carl.text.toJSON() === "new", "nothing old comes back");
    assert.deepEqual(await nodes.store.readRows(nodes.name, 1), []);
  });

  it("[CL11] while another node's store is away sends its clients away, and what they wrote is removed when it is back", async (t) => {
    const nodes = await openNodes(t);
    const { ada, bo } = await opened(nodes);
    await type(ada, ["old "]);
    await equal("old ", ada, bo);
    const { faulty, harness } = nodes.node(1);
    faulty.inject({ kind: "fail", times: Number.POSITIVE_INFINITY });
    bo.text.insert(0, "after the end ");
    await until(() => harness.collab.stats().uncommittedBytes > 0, "it is accepted there");
    await nodes.node(0).harness.collab.replace(nodes.name, textUpdate("new"), "ada");
    await harness.collab.recheckDocument(nodes.name);
    await until(() => bo.closes.includes(1013), "bo is told to try later");
    faulty.heal();
    await until(() => harness.collab.stats().uncommittedBytes === 0, "it is committed there");
    let left = Number.POSITIVE_INFINITY;
    const count = async (): Promise<void> => void (left = (await nodes.store.readRows(nodes.name, 1)).length);
    await until(() => {
      void count();
      return left === 0;
    }, "nothing of it is left");
    // Bo still has it, and comes back with it.
    await until(
      () => bo.closes.includes(4410) || JSON.stringify(bo.notices).includes("reset"),
      "bo starts over",
    );
    assert.equal(await nodes.freshText(), "new");
  });

  it("[CL11] that is removed closes the others' clients with 4404 as soon as they are told", async (t) => {
    const nodes = await openNodes(t);
    const { bo } = await opened(nodes);
    await nodes.node(0).harness.collab.remove(nodes.name);
    await nodes.node(1).harness.collab.recheckDocument(nodes.name);
    await until(() => bo.closes.includes(4404), "bo is told");
  });
});
