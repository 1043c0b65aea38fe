import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openLedger, step, unsaved, type AckLedger, type LedgerEvent } from "../src/notes/ack-ledger.ts";

const run = (events: readonly LedgerEvent[], from: AckLedger = openLedger(0)) => events.reduce(step, from);
const edit: LedgerEvent = { type: "edit" };
const update: LedgerEvent = { type: "update", edits: 1 };
const diff: LedgerEvent = { type: "diff" };
const yes: LedgerEvent = { type: "answer", committed: true };
const no: LedgerEvent = { type: "answer", committed: false };
const closed: LedgerEvent = { type: "closed" };

test("an edit is unsaved until its own message is answered", () => {
  const ledger = run([diff, yes, edit, update, edit, update]);
  assert.equal(unsaved(ledger), 2);
  assert.equal(unsaved(run([yes], ledger)), 1);
  assert.equal(unsaved(run([yes, yes], ledger)), 0);
});

test("edits typed offline stay unsaved until the diff is answered, whatever else is answered before", () => {
  const ledger = run([edit, edit, edit, diff, edit, update]);
  assert.equal(ledger.settled, false);
  assert.equal(unsaved(ledger), 4);
  const answered = run([yes], ledger);
  assert.equal(answered.settled, true);
  assert.equal(unsaved(answered), 1);
});

test("a lost connection turns everything in flight back into unsent edits", () => {
  const ledger = run([diff, yes, edit, update, edit, update, closed]);
  assert.deepEqual(ledger, { unsent: 2, sent: [], settled: false });
});

test("a refused update stays unsaved, and the next diff carries it", () => {
  const ledger = run([diff, yes, edit, update, no]);
  assert.equal(unsaved(ledger), 1);
  assert.equal(unsaved(run([diff, yes], ledger)), 0);
});

test("a refused diff leaves at least one unsaved edit, even when none was counted", () => {
  const ledger = run([diff, no]);
  assert.equal(unsaved(ledger), 1);
  assert.equal(ledger.settled, false);
});

test("an answer that nobody waits for changes nothing", () => {
  assert.deepEqual(run([yes, no]), openLedger(0));
});

test("no sequence of events hides an edit whose message is not answered with yes", () => {
  const event = fc.constantFrom<LedgerEvent>(edit, update, diff, yes, no, closed, {
    type: "update",
    edits: 0,
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      // The model names each edit and follows it through the messages one by one.
      let loose: number[] = [];
      let messages: number[][] = [];
      let edits = 0;
      let ledger = openLedger(0);
      for (const next of events) {
        if (next.type === "edit") loose.push((edits += 1));
        else if (next.type === "update") messages.push(loose.splice(0, next.edits));
        else if (next.type === "diff") messages.push(loose.splice(0));
        else if (next.type === "closed") [loose, messages] = [[...messages.flat(), ...loose], []];
        else loose.push(...(next.committed ? [] : (messages.at(0) ?? [])));
        if (next.type === "answer") messages.shift();
        ledger = step(ledger, next);
        assert.ok(unsaved(ledger) >= loose.length + messages.flat().length);
      }
    }),
    { numRuns: 500 },
  );
});
