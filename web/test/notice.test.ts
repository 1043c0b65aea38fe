import assert from "node:assert/strict";
import { test } from "node:test";
import { CollabNotice } from "@scriptorium/shared";
import fc from "fast-check";
import { parseNotice } from "../src/notes/notice.ts";

test("each notice of the protocol is read as it is", () => {
  for (const readOnly of [null, "role", "store", "draining"] as const) {
    const notice = { type: "state", epoch: 3, readOnly } as const;
    assert.deepEqual(parseNotice(JSON.stringify(notice)), notice);
  }
  assert.deepEqual(parseNotice('{"type":"reset","epoch":2}'), { type: "reset", epoch: 2 });
});

test("anything else is not a notice, by the same judgement as the shared schema", () => {
  const near = fc.record(
    {
      type: fc.constantFrom("state", "reset", "other", 1),
      epoch: fc.constantFrom(1, 0, -1, 1.5, "1", null),
      readOnly: fc.constantFrom(null, "role", "toString", 4, undefined),
    },
    { requiredKeys: [] },
  );
  const payload = fc.oneof(
    near.map((value) => JSON.stringify(value)),
    fc.json(),
    fc.string(),
  );
  fc.assert(
    fc.property(payload, (text) => {
      const parsed = parseNotice(text);
      if (parsed !== undefined) assert.ok(CollabNotice.safeParse(parsed).success);
      else assert.ok(!isNotice(text));
    }),
    { numRuns: 500 },
  );
});

function isNotice(text: string): boolean {
  try {
    return CollabNotice.safeParse(JSON.parse(text)).success;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
