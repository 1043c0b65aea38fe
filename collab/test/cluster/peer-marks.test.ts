import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { PeerMarks, type Reading } from "../../src/cluster/peer-marks.ts";

const NODES = ["a", "b", "c"] as const;

/** One thing that can happen to a document on this node. */
const Event = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant("commit" as const), node: fc.constantFrom(...NODES) }),
  },
  // Of all messages that were ever sent: again, late, out of order, or never.
  { weight: 5, arbitrary: fc.record({ type: fc.constant("deliver" as const), which: fc.nat(1_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("digest" as const), node: fc.constantFrom(...NODES) }),
  },
  { weight: 1, arbitrary: fc.constant({ type: "begin" as const }) },
  { weight: 2, arbitrary: fc.constant({ type: "finish" as const }) },
);
type Event = typeof Event extends fc.Arbitrary<infer T> ? T : never;

/** The log, the messages and the document of one node, as simple as they can be. */
class World {
  readonly marks = new PeerMarks();
  readonly committed = new Map<string, number>(NODES.map((node) => [node, 0]));
  readonly messages: { node: string; first: number; last: number }[] = [];
  /** Rows that are in the document, as "node/seq". */
  readonly document = new Set<string>();
  /** What the log had when the reading began is all that it is sure to find. */
  #reading: { readonly known: Reading; readonly found: string[] } | undefined;

  step(event: Event): void {
    switch (event.type) {
      case "commit": {
        const first = this.last(event.node) + 1;
        const last = first + (this.messages.length % 3);
        this.committed.set(event.node, last);
        this.messages.push({ node: event.node, first, last });
        return;
      }
      case "deliver": {
        const message = this.messages[event.which % Math.max(1, this.messages.length)];
        if (message !== undefined) this.#deliver(message);
        return;
      }
      case "digest":
        return this.marks.announced(event.node, this.last(event.node));
      case "begin":
        this.#reading ??= { known: this.marks.beginReading(), found: this.log() };
        return;
      case "finish": {
        if (this.#reading === undefined) return;
        for (const row of this.#reading.found) this.document.add(row);
        const { known, found } = this.#reading;
        this.marks.finishReading(known, (node, seq) => found.includes(`${node}/${seq}`));
        this.#reading = undefined;
      }
    }
  }

  last(node: string): number {
    return this.committed.get(node) ?? 0;
  }

  log(): string[] {
    return NODES.flatMap((node) => Array.from({ length: this.last(node) }, (_, i) => `${node}/${i + 1}`));
  }

  #deliver({ node, first, last }: { node: string; first: number; last: number }): void {
    const isNews = this.marks.arrived(node, first, last);
    for (let seq = first; seq <= last; seq += 1) {
      if (isNews) this.document.add(`${node}/${seq}`);
      else assert.ok(this.document.has(`${node}/${seq}`), "what is called a repetition is in the document");
    }
  }
}

function play(events: readonly Event[]): World {
  const world = new World();
  for (const event of events) {
    world.step(event);
    for (const node of NODES) {
      const applied = world.marks.appliedOf(node);
      assert.ok(applied <= world.last(node), "no mark is ahead of the log");
      for (let seq = 1; seq <= applied; seq += 1)
        assert.ok(world.document.has(`${node}/${seq}`), `${node} is marked up to ${applied} without ${seq}`);
    }
  }
  return world;
}

describe("the marks of other nodes' rows", () => {
  it("[CL2] never pass a row that is not in the document, however messages are lost, doubled and reordered", () => {
    fc.assert(
      fc.property(fc.array(Event, { maxLength: 60 }), (events) => void play(events)),
      { numRuns: 2_000 },
    );
  });

  it("[CL2] after a digest and a reading reach the last row, and nothing is called missing", () => {
    fc.assert(
      fc.property(fc.array(Event, { maxLength: 40 }), (events) => {
        const world = play([...events, { type: "finish" }]);
        for (const node of NODES) world.step({ type: "digest", node });
        for (let reading = 0; reading < 2 && world.marks.behind; reading += 1) {
          world.step({ type: "begin" });
          world.step({ type: "finish" });
        }
        assert.equal(world.marks.behind, false);
        for (const node of NODES) assert.equal(world.marks.appliedOf(node), world.last(node));
      }),
      { numRuns: 1_000 },
    );
  });

  it("[CL2] take rows that follow each other without any reading, once the node is known", () => {
    const marks = new PeerMarks();
    assert.equal(marks.arrived("a", 1, 2), true);
    assert.equal(marks.arrived("a", 3, 3), true);
    assert.equal(marks.behind, false);
    assert.equal(marks.arrived("a", 5, 6), true);
    assert.equal(marks.behind, true);
    assert.equal(marks.arrived("a", 4, 4), true);
    assert.deepEqual([marks.behind, marks.appliedOf("a")], [false, 6]);
    assert.equal(marks.arrived("a", 2, 6), false);
  });

  it("[CL2] of a node that is first heard of in the middle are missed until the log was read", () => {
    const marks = new PeerMarks();
    marks.arrived("a", 50, 51);
    assert.equal(marks.behind, true);
    const reading = marks.beginReading();
    marks.arrived("a", 52, 53);
    marks.finishReading(reading, () => true);
    assert.deepEqual([marks.behind, marks.appliedOf("a")], [false, 53]);
    marks.arrived("a", 60, 60);
    const next = marks.beginReading();
    // Row 61 was committed too late for this reading.
    marks.arrived("a", 62, 62);
    marks.finishReading(next, () => true);
    assert.deepEqual([marks.behind, marks.appliedOf("a")], [true, 60]);
  });

  it("[CL9] are kept for a bounded number of nodes, and one that was forgotten is read again", () => {
    const marks = new PeerMarks();
    for (let n = 0; n < 1_000; n += 1) marks.arrived(`node-${n}`, 1, 1);
    assert.equal(marks.appliedOf("node-999"), 1);
    assert.equal(marks.appliedOf("node-0"), 0);
    marks.arrived("node-0", 2, 2);
    assert.equal(marks.behind, true);
  });
});
