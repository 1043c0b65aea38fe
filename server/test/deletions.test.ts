import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Failure, newId } from "@scriptorium/shared";
import { createDeletions } from "../src/projects/deletions.ts";
import { createMembers } from "../src/projects/members.ts";
import { createPapers } from "../src/projects/papers.ts";
import { openMemory } from "../src/storage/adapters/memory/open.ts";
import { until } from "./support/site.ts";

describe("a deletion that was decided but could not be told", () => {
  it("has failed, and is finished later without anybody asking again", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { streams, open } = await openMemory();
    const members = createMembers({ open, streams, now: Date.now });
    const papers = createPapers({ open, members, now: Date.now });
    const purged: string[] = [];
    const purge = {
      project: async (id: string) => void purged.push(id),
      paper: async () => undefined,
    };
    const log = { error: () => undefined };
    const deletions = createDeletions({ open, members, papers, purge, log, now: Date.now });
    t.after(() => deletions.stop());
    const [id, owner] = [newId(), newId()];
    await members.create(id, owner);
    members.whenChanged(() => Promise.reject(new Failure("try_later")));
    await assert.rejects(deletions.project(owner, id), { code: "try_later" });
    assert.equal((await members.state(id))?.deleted, true);
    assert.deepEqual(purged, []);
    t.mock.timers.tick(60_000);
    t.mock.timers.reset();
    await until(() => purged.length > 0, "it is purged");
    const tombstones = open({ name: "deletions", unique: [], indexes: [] });
    await until(async () => (await tombstones.find({ where: {}, limit: 1 })).length === 0, "it is done");
  });
});
