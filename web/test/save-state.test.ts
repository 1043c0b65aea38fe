import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { saveState, SLOW_AFTER_MS, type SaveInputs } from "../src/notes/save-state.ts";

const calm: SaveInputs = {
  link: "open",
  settled: true,
  unsaved: 0,
  readOnly: null,
  stopped: null,
  waitedMs: 0,
};

test("an open socket with nothing acknowledged is not saved", () => {
  assert.deepEqual(saveState({ ...calm, settled: false }), { kind: "connecting", unsaved: 0 });
});

test("everything acknowledged on an open socket is saved", () => {
  assert.deepEqual(saveState(calm), { kind: "saved", unsaved: 0 });
});

test("unacknowledged edits are pending with their number, and slow when no answer comes", () => {
  assert.deepEqual(saveState({ ...calm, unsaved: 3 }), { kind: "pending", unsaved: 3, slow: false });
  assert.deepEqual(saveState({ ...calm, unsaved: 3, waitedMs: SLOW_AFTER_MS }), {
    kind: "pending",
    unsaved: 3,
    slow: true,
  });
});

test("while connecting, edits of this device are pending rather than connecting", () => {
  const state = saveState({ ...calm, link: "connecting", settled: false, unsaved: 2 });
  assert.deepEqual(state, { kind: "pending", unsaved: 2, slow: false });
});

test("a read-only document names its reason and keeps the number of unsaved edits", () => {
  assert.deepEqual(saveState({ ...calm, readOnly: "store", unsaved: 2 }), {
    kind: "readonly",
    reason: "store",
    unsaved: 2,
  });
});

test("offline outranks what the server said last about read-only", () => {
  assert.deepEqual(saveState({ ...calm, link: "offline", readOnly: "draining" }), {
    kind: "offline",
    unsaved: 0,
  });
});

test("a stopped document says why, whatever the socket does", () => {
  const state = saveState({ ...calm, link: "offline", stopped: "too-large", unsaved: 1 });
  assert.deepEqual(state, { kind: "readonly", reason: "too-large", unsaved: 1 });
});

test("no input but zero unsaved, settled, open and writable is ever called saved", () => {
  const inputs = fc.record<SaveInputs>({
    link: fc.constantFrom("connecting", "open", "offline"),
    settled: fc.boolean(),
    unsaved: fc.nat(5),
    readOnly: fc.constantFrom(null, "role", "store", "draining"),
    stopped: fc.constantFrom(null, "signed-out", "forbidden", "missing", "too-large", "refused"),
    waitedMs: fc.nat(20_000),
  });
  fc.assert(
    fc.property(inputs, (given) => {
      const state = saveState(given);
      if (state.kind === "saved") {
        assert.deepEqual({ ...given, waitedMs: 0 }, calm);
      }
      assert.equal(state.unsaved, given.unsaved);
    }),
  );
});
