import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openLedger, step, unsaved, type AckLedger, type LedgerEvent } from "../src/notes/ack-ledger.ts";

const run = (events: readonly LedgerEvent[], from: AckLedger = openLedger(0)) => events.reduce(step, from);
const edit: LedgerEvent = { type: "edit" };
const update: LedgerEvent = { type: "update", edits: 1 };
const diff: LedgerEvent = { type: "diff" };
const resume: LedgerEvent = { type: "resume" };
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
  assert.deepEqual(ledger, openLedger(2));
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

test("when writing is possible again, refused edits are saved by the last of as many answers as were refused", () => {
  const refused = run([diff, yes, edit, update, edit, update, no, no]);
  assert.equal(unsaved(refused), 2);
  const resumed = run([resume, edit, update], refused);
  assert.equal(unsaved(run([yes], resumed)), 3);
  assert.equal(unsaved(run([yes, yes], resumed)), 1);
  assert.deepEqual(run([yes, yes, yes], resumed), { ...openLedger(0), settled: true });
});

test("a server that asks again though it refused nothing gives no answer, and later edits keep theirs", () => {
  const ledger = run([diff, yes, resume, edit, update]);
  assert.equal(unsaved(ledger), 1);
  assert.equal(unsaved(run([yes], ledger)), 0);
});

test("an answer that nobody waits for changes nothing", () => {
  assert.deepEqual(run([yes, no]), openLedger(0));
});

/** Names each edit and follows it through the messages one by one; the answer is how many are not safe. */
function followEdits(): (event: LedgerEvent) => number {
  let loose: number[] = [];
  let messages: number[][] = [];
  let edits = 0;
  let refused = 0;
  const follow = (event: LedgerEvent): void => {
    switch (event.type) {
      case "edit":
        loose.push((edits += 1));
        break;
      case "update":
        messages.push(loose.splice(0, event.edits));
        break;
      case "diff":
        messages.push(loose.splice(0));
        break;
      case "resume":
        for (; refused > 0; refused -= 1) messages.push(refused === 1 ? loose.splice(0) : []);
        break;
      case "answer": {
        const answered = messages.shift();
        if (answered === undefined || event.committed) break;
        loose.push(...answered);
        refused += 1;
        break;
      }
      case "closed":
        [loose, messages, refused] = [[...messages.flat(), ...loose], [], 0];
        break;
    }
  };
  return (event) => {
    follow(event);
    return loose.length + messages.flat().length;
  };
}

test("no sequence of events hides an edit whose message is not answered with yes", () => {
  const event = fc.constantFrom<LedgerEvent>(edit, update, diff, resume, yes, no, closed, {
    type: "update",
    edits: 0,
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const follow = followEdits();
      let ledger = openLedger(0);
      for (const next of events) {
        ledger = step(ledger, next);
        assert.ok(unsaved(ledger) >= follow(next));
      }
    }),
    { numRuns: 500 },
  );
});
