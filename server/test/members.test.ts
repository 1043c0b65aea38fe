import { Failure, newId, PROJECT_ROLES, type ProjectRole } from "@scriptorium/shared";
import { memoryStreams } from "@scriptorium/shared/testing";
import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMembers } from "../src/projects/members.ts";
import { Membership, type MembershipChange } from "../src/projects/membership.ts";
import type { FindOptions, OpenCollection } from "../src/storage/ports.ts";
import { openMemory } from "../src/storage/adapters/memory/open.ts";

const PEOPLE = Array.from({ length: 5 }, (_, i) => newId(i));
const person = fc.constantFrom(...PEOPLE);
const role: fc.Arbitrary<ProjectRole> = fc.constantFrom(...PROJECT_ROLES);
const change: fc.Arbitrary<MembershipChange> = fc.oneof(
  fc.record({ type: fc.constant("add" as const), userId: person, role }),
  fc.record({ type: fc.constant("role" as const), userId: person, role }),
  fc.record({ type: fc.constant("remove" as const), userId: person }),
);
const act = fc.record({ by: person, change });

async function project() {
  const { open } = await openMemory();
  const streams = memoryStreams();
  const members = createMembers({ open, streams, now: Date.now });
  const id = newId();
  const [founder = ""] = PEOPLE;
  await members.create(id, founder);
  return { members, streams, id, founder };
}

/** Refusals are expected; anything else is a bug and fails the test. */
const refusal = (error: unknown) => {
  if (error instanceof Failure) return error.code;
  throw error;
};

describe("membership", () => {
  it("always leaves an owner, whatever people do at the same time", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(act, { maxLength: 6 }), { maxLength: 6 }), async (rounds) => {
        const { members, streams, id } = await project();
        for (const acts of rounds) {
          await Promise.all(acts.map(({ by, change: what }) => members.change(id, by, what).catch(refusal)));
        }
        const history = await streams.read(`members:${id}`, 1, 1_000);
        for (const { entry } of history) {
          const state = Membership.parse(entry);
          assert.ok(state.members.some((member) => member.role === "owner"));
          assert.equal(new Set(state.members.map((member) => member.userId)).size, state.members.length);
        }
        // Whoever is in the project finds it in their list.
        for (const userId of PEOPLE) {
          const rows = await members.projectsOf(userId, { limit: 10 });
          if ((await members.roleOf(id, userId)) !== undefined)
            assert.deepEqual(
              rows.map((row) => row.projectId),
              [id],
            );
        }
      }),
      { numRuns: 200 },
    );
  });

  it("leaves one owner when two demote each other at once", async () => {
    for (let round = 0; round < 20; round += 1) {
      const { members, id, founder } = await project();
      const [, second = ""] = PEOPLE;
      await members.change(id, founder, { type: "add", userId: second, role: "owner" });
      const results = await Promise.all([
        members.change(id, founder, { type: "role", userId: second, role: "viewer" }).catch(refusal),
        members.change(id, second, { type: "role", userId: founder, role: "viewer" }).catch(refusal),
      ]);
      assert.equal(results.filter((result) => result === "forbidden").length, 1);
      const state = await members.state(id);
      assert.equal(state?.members.filter((member) => member.role === "owner").length, 1);
    }
  });

  it("keeps somebody findable who is added again while being removed", async () => {
    const store = await openMemory();
    const gate = Promise.withResolvers<undefined>();
    const open: OpenCollection = (spec) => {
      const collection = store.open<never>(spec);
      const removeWhere = async (where: FindOptions["where"]) => {
        await gate.promise;
        return collection.removeWhere(where);
      };
      return { ...collection, removeWhere };
    };
    const members = createMembers({ open, streams: memoryStreams(), now: Date.now });
    const [id, founder, guest] = [newId(), newId(), newId()];
    await members.create(id, founder);
    const add = () => members.change(id, founder, { type: "add", userId: guest, role: "viewer" });
    await add();
    const removal = members.change(id, founder, { type: "remove", userId: guest });
    while ((await members.roleOf(id, guest)) !== undefined) await new Promise(setImmediate);
    await add();
    gate.resolve(undefined);
    await removal;
    assert.equal((await members.projectsOf(guest, { limit: 10 })).length, 1);
  });

  it("does not let the last owner leave or step down", async () => {
    const { members, id, founder } = await project();
    const leave = members.change(id, founder, { type: "remove", userId: founder });
    assert.equal(await leave.catch(refusal), "last_owner");
    const stepDown = members.change(id, founder, { type: "role", userId: founder, role: "editor" });
    assert.equal(await stepDown.catch(refusal), "last_owner");
  });

  it("is over for everybody when the project is deleted", async () => {
    const { members, id, founder } = await project();
    const told: string[] = [];
    members.whenChanged(async ({ userIds }) => void told.push(...userIds));
    await members.change(id, founder, { type: "delete" });
    assert.deepEqual(told, [founder]);
    assert.equal(await members.roleOf(id, founder), undefined);
    const late = members.change(id, founder, { type: "add", userId: PEOPLE[1] ?? "", role: "viewer" });
    assert.equal(await late.catch(refusal), "not_found");
    await members.purge(id);
    assert.deepEqual(await members.projectsOf(founder, { limit: 10 }), []);
    assert.equal((await members.state(id))?.deleted, true);
  });

  it("tells of a removal again when it is repeated because nobody could be told, and strangers of none", async () => {
    const { members, id, founder } = await project();
    const [, guest = "", stranger = ""] = PEOPLE;
    const told: string[] = [];
    let reachable = true;
    members.whenChanged(async ({ name, userIds }) => {
      told.push(`${name} ${userIds.join()}`);
      if (!reachable) throw new Failure("try_later");
    });
    const remove = (by: string, userId: string) =>
      members.change(id, by, { type: "remove", userId }).then(() => "ok", refusal);
    for (const by of [founder, guest]) {
      await members.change(id, founder, { type: "add", userId: guest, role: "editor" });
      told.length = 0;
      reachable = false;
      assert.equal(await remove(by, guest), "try_later");
      assert.equal(await members.roleOf(id, guest), undefined, "it stands");
      assert.deepEqual(await members.projectsOf(guest, { limit: 10 }), []);
      reachable = true;
      assert.equal(await remove(by, guest), "not_found");
      assert.equal(await remove(by, guest), "not_found");
      assert.equal(new Set(told.slice(1)).size, 1, "under one name, however often");
      assert.ok(told.every((line) => line.endsWith(guest)));
      assert.equal(told.length, 3);
    }
    told.length = 0;
    assert.equal(await remove(stranger, guest), "not_found");
    assert.equal(await remove(guest, founder), "not_found");
    assert.deepEqual(told, []);
  });

  it("names each change of a project differently", async () => {
    const { members, id, founder } = await project();
    const [, guest = ""] = PEOPLE;
    const names: string[] = [];
    members.whenChanged(async ({ name }) => void names.push(name));
    await members.change(id, founder, { type: "add", userId: guest, role: "editor" });
    for (const next of ["viewer", "viewer", "editor"] as const)
      await members.change(id, founder, { type: "role", userId: guest, role: next });
    await members.change(id, founder, { type: "remove", userId: guest });
    await members.change(id, founder, { type: "delete" });
    assert.equal(new Set(names).size, 6);
  });
});
