import { Failure, PROJECT_ROLES, type ProjectRole } from "@scriptorium/shared";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ACTIONS, demand, documentPermission, may, type Action } from "../src/policy.ts";

/** The same table once more, by hand: a change of the policy must be meant twice. */
const TABLE: Readonly<Record<Action, string>> = {
  "project.read": "owner editor commenter viewer",
  "project.edit": "owner editor",
  "project.delete": "owner",
  "members.manage": "owner",
  "members.leave": "owner editor commenter viewer",
  "papers.write": "owner editor",
  "documents.read": "owner editor commenter viewer",
  "documents.write": "owner editor",
};

describe("the policy", () => {
  for (const action of ACTIONS) {
    const roles = TABLE[action];
    it(`lets ${roles} and nobody else: ${action}`, () => {
      assert.equal(PROJECT_ROLES.filter((role) => may(role, action)).join(" "), roles);
      assert.equal(may(undefined, action), false);
    });
  }

  it("tells a stranger nothing and a member why not", () => {
    const code = (role: ProjectRole | undefined) => {
      try {
        demand(role, "project.delete");
        return "allowed";
      } catch (error) {
        return error instanceof Failure ? error.code : error;
      }
    };
    assert.deepEqual([code(undefined), code("viewer"), code("owner")], ["not_found", "forbidden", "allowed"]);
  });

  it("opens documents for writing to owners and editors, for reading to the others", () => {
    const permissions = [...PROJECT_ROLES, undefined].map((role) => documentPermission(role, "notes"));
    assert.deepEqual(permissions, ["write", "write", "read", "read", "none"]);
  });
});
