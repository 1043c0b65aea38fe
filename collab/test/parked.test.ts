import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as Y from "yjs";
import { until } from "./support/harness.ts";
import { statuses, syncs, update } from "./support/raw-client.ts";
import { openStage } from "./support/stage.ts";

describe("an update that waited for a missing one", () => {
  it("[WP4] [DL6] reaches the author of the missing one too, in either dialect", async (t) => {
    const stage = await openStage(t);
    for (const door of ["collab", "yjs"] as const) {
      // As after a restart: both have something that the server has lost, and one sends it before the other does.
      const author = door === "collab" ? await stage.rawCollab("bo") : await stage.rawYjs("bo");
      const address = door === "collab" ? stage.name : undefined;
      const other = await stage.rawCollab("ada");
      const typed = new Y.Doc();
      typed.getText("md").insert(0, "first ");
      const first = Y.encodeStateAsUpdate(typed);
      const known = Y.encodeStateVector(typed);
      typed.getText("md").insert(6, "second ");
      other.send(update(stage.name, Y.encodeStateAsUpdate(typed, known)));
      await until(() => statuses(other, stage.name).length === 1, "the second is accepted and waits");
      author.send(update(address, first));
      const seen = new Y.Doc();
      Y.applyUpdate(seen, first);
      await until(() => {
        for (const { kind, body } of syncs(author, address)) if (kind !== "step1") Y.applyUpdate(seen, body);
        return seen.getText("md").toJSON().includes("second");
      }, `the author sees the second through ${door}`);
      assert.ok(seen.getText("md").toJSON().includes("first second"));
      author.destroy();
      other.destroy();
    }
  });
});
