import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMemoryHub } from "@scriptorium/shared/testing";
import { createLeases } from "../../src/cluster/leases.ts";
import { until } from "../support/harness.ts";

describe("the leases of nodes", () => {
  it("[CL7] a process that was itself stopped for a while tells that it slept, and takes nobody for dead", async () => {
    const hub = createMemoryHub();
    const bus = hub.join();
    let jumpMs = 0;
    let slept = 0;
    const gone: string[] = [];
    const leases = createLeases({
      node: "me",
      bus,
      limits: { beatMs: 10, leaseMs: 20_000 },
      steady: () => performance.now() + jumpMs,
      onGone: (node) => gone.push(node),
      onSlept: () => (slept += 1),
      countRefused: () => undefined,
    });
    leases.heard("other");
    jumpMs = 60_000;
    await until(() => slept === 1, "it notices that it slept");
    assert.deepEqual([leases.size, gone], [1, []]);
    leases.stop();
    await bus.close();
  });
});
