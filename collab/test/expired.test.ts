import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { until } from "./support/harness.ts";
import { openStage } from "./support/stage.ts";

describe("a token past its end", () => {
  it("[AC1] [AC5] opens no document, even when Access is lenient about clocks", async (t) => {
    const stage = await openStage(t);
    for (const token of ["ada", "bo"]) stage.harness.people.expiresAt.set(token, Date.now() - 1);
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await until(() => ada.denials.length > 0, "ada is denied");
    await until(() => bo.closes.length > 0, "bo is closed");
    assert.deepEqual([ada.denials, bo.closes], [["token_expired"], [4401]]);
    assert.equal(stage.harness.collab.stats().documents, 0);
  });
});
