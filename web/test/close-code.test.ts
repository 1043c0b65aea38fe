import assert from "node:assert/strict";
import { test } from "node:test";
import { closeAction } from "../src/notes/close-code.ts";

test("restarts, overload, network loss and the provider's own silence alarm lead to a new connection", () => {
  for (const code of [1000, 1005, 1006, 1011, 1012, 1013, 4205, 4408, 4504, 4508, 4529]) {
    assert.deepEqual(closeAction(code), { do: "reconnect" }, String(code));
  }
});

test("an expired or revoked session is renewed once rather than given up", () => {
  assert.deepEqual(closeAction(4401), { do: "renew" });
});

test("a replaced document starts over", () => {
  assert.deepEqual(closeAction(4410), { do: "start-over" });
});

test("every other refusal stops, with its reason", () => {
  const reasons = [4400, 4403, 4404, 4409, 4413, 4429].map((code) => closeAction(code));
  assert.deepEqual(
    reasons.map((action) => (action.do === "stop" ? action.reason : action.do)),
    ["refused", "forbidden", "missing", "refused", "too-large", "refused"],
  );
});
