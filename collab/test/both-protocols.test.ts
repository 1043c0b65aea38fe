import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  notesName,
  openProvider,
  openYjs,
  saved,
  startHarness,
  storedText,
  until,
} from "./support/harness.ts";

describe("both wire protocols", () => {
  it("[WP1] a Hocuspocus provider and a y-websocket provider edit one live document", async () => {
    const harness = await startHarness();
    const name = notesName();
    const ada = openProvider(harness.url, name);
    const bo = openYjs(harness.url, name);
    try {
      await until(() => ada.provider.isSynced && bo.provider.synced, "both synced");
      ada.text.insert(0, "from ada. ");
      bo.text.insert(0, "from bo. ");
      await saved(ada);
      await until(() => ada.text.length === 19 && bo.text.toJSON() === ada.text.toJSON(), "equal texts");
      assert.equal(await storedText(harness.collab, name), ada.text.toJSON());
    } finally {
      ada.destroy();
      bo.destroy();
      await harness.stop();
    }
  });
});
