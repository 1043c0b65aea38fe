import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { simulate } from "../cluster/model/simulation.ts";
import type { SimulationPlan } from "../cluster/model/simulation.ts";
import { Held, Rows } from "../cluster/model/rows.ts";
import { route, WORKLOAD } from "../cluster/model/workload.ts";
import { createRoom } from "../collab/generator/room.ts";
import { createHistogram } from "../collab/measure/histogram.ts";
import { familyCpuSeconds } from "../collab/measure/proc.ts";

const BUSY: SimulationPlan = {
  nodes: 10,
  // Everybody types, and people come and go every few seconds.
  workload: {
    documents: 300,
    openShare: 1,
    typingShare: 0.5,
    rowsPerSecond: 8,
    typesMs: 3_000,
    staysMs: 20_000,
  },
  routing: "random",
  seed: 1,
  lostShare: 0,
  joinsPerSecond: undefined,
  replyPauseMs: undefined,
  readingsPerSecond: 20_000,
  measureMs: 10_000,
  patienceMs: 60_000,
};

describe("the simulated fan-out", () => {
  for (const seed of [1, 2, 3]) {
    it(`converges after every fault, and no mark passes a row that is not there (seed ${seed})`, () => {
      const { steady, faults, apart, violations } = simulate({ ...BUSY, seed });
      assert.deepEqual(violations, []);
      assert.equal(apart, 0);
      assert.ok(steady.byKind.rows > 50, "people type on shared documents");
      const [restart, cut] = faults;
      for (const fault of [restart, cut]) {
        assert.ok((fault?.converged.documents ?? 0) > 0, `${fault?.name} leaves documents apart`);
      }
      for (const { name, converged } of faults) assert.equal(converged.open, 0, name);
    });
  }

  it("keeps its marks right when one message in twenty is lost", () => {
    const { violations, steady, apart } = simulate({ ...BUSY, lostShare: 0.05 });
    assert.deepEqual(violations, []);
    assert.ok(steady.readings > 1, "what is lost is read");
    // The digest tells what was lost last. Where it is lost as well, nobody tells before the next edit or join.
    assert.ok(apart <= 3, `${apart} documents stay apart`);
  });

  it("says a document once for all nodes, and nothing of one that a node has alone", () => {
    const alone = simulate({ ...BUSY, nodes: 1 });
    assert.equal(alone.steady.byKind.rows, 0);
    const many = simulate({ ...BUSY, nodes: 50 });
    assert.ok(many.steady.byKind.rows > 0 && many.steady.byKind.rows <= many.steady.rows);
  });

  it("comes to rest after a restart of Redis with a hundred nodes, whoever lands where", () => {
    const workload = { ...WORKLOAD, documents: 300_000 };
    const { steady, faults } = simulate({ ...BUSY, nodes: 100, workload, measureMs: 2_000 });
    for (const { name, calm } of faults) assert.ok(calm, name);
    // With as many joins from each node as from one of two, and an answer to each, it is ten; with a million documents no rest.
    const messages = (faults[0]?.published ?? Number.POSITIVE_INFINITY) / steady.sharedSeats;
    assert.ok(messages < 8, `${messages} messages for each live document`);
  });

  it("needs less of the bus when documents are routed by name", () => {
    const random = simulate(BUSY);
    const byDocument = simulate({ ...BUSY, routing: "by-document" });
    assert.ok(byDocument.steady.published < random.steady.published / 2);
    assert.deepEqual([byDocument.apart, byDocument.violations.length], [0, 0]);
  });
});

describe("what the simulation is checked against", () => {
  it("knows the rows that are missing, over gaps where no row is", () => {
    const rows = new Rows();
    rows.begin(3, 4);
    rows.begin(10, 12);
    rows.committed = 10;
    assert.deepEqual([rows.next(0), rows.next(4), rows.next(12)], [3, 10, Number.POSITIVE_INFINITY]);
    assert.deepEqual(rows.underWay(), [11, 12]);
    const held = new Held();
    held.take(rows, 11, 11);
    held.take(rows, 4, 4);
    assert.equal(held.upTo, 0);
    held.take(rows, 3, 3);
    assert.equal(held.upTo, 4);
    held.takeUpTo(rows, 10);
    assert.equal(held.upTo, 11);
    rows.rollBack();
    assert.equal(rows.next(10), Number.POSITIVE_INFINITY);
  });

  it("routes a document to one node, evenly, and moves only the documents of a node that goes", () => {
    const nodes = Array.from({ length: 10 }, (_, place) => place);
    const random = (): number => 0.5;
    const before = Array.from({ length: 10_000 }, (_, id) => route("by-document", id, { nodes, random }));
    for (const node of nodes) {
      const share = before.filter((place) => place === node).length / before.length;
      assert.ok(Math.abs(share - 0.1) < 0.02, `node ${node} has ${share}`);
    }
    const left = nodes.filter((place) => place !== 3);
    for (const [id, place] of before.entries()) {
      const after = route("by-document", id, { nodes: left, random });
      assert.ok(place === 3 ? after !== 3 : after === place);
    }
  });
});

describe("the generator over several nodes", () => {
  it("counts what crosses from node to node, also where the nodes' streams differ", () => {
    const counters = { deliveries: 0, farDeliveries: 0, cursorDeliveries: 0 };
    const [latency, farLatency] = [createHistogram(), createHistogram()];
    const document = "notes:x";
    const room = createRoom({ protocol: "hocuspocus", document, latency, farLatency, counters });
    room.addWriter(1, 0);
    room.addWriter(2, 1);
    const near = room.addReader({ author: undefined, node: 0, timed: true, sampled: true });
    const far = room.addReader({ author: 2, node: 1, timed: true, sampled: true });
    const [one, two] = [Buffer.from(room.type(1, 0)), Buffer.from(room.type(2, 0))];
    room.receive(near, one, 5);
    room.receive(near, two, 5);
    room.receive(far, one, 5);
    assert.deepEqual([counters.deliveries, counters.farDeliveries], [3, 2]);
    assert.deepEqual([latency.count(), farLatency.count()], [3, 2]);
    const { missing, different, replayed } = room.verdict();
    assert.deepEqual([missing, different, replayed], [0, 0, 2]);
  });

  it("charges a process with all that it started", async () => {
    const before = familyCpuSeconds([process.pid]);
    const child = spawn(process.execPath, ["-e", "const end = Date.now() + 150; while (Date.now() < end);"]);
    await once(child, "exit");
    assert.ok(familyCpuSeconds([process.pid]) > before);
  });
});
