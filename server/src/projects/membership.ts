import { assertNever, Failure, type ProjectRole } from "@scriptorium/shared";
import { z } from "zod";
import { PROJECT_ROLES } from "@scriptorium/shared";

/** Who belongs to a project: the pure part. The whole state stands in every entry of the project's stream. */
const MemberState = z.object({ userId: z.string(), role: z.enum(PROJECT_ROLES), joinedAt: z.string() });
export type MemberState = z.infer<typeof MemberState>;
export const Membership = z.object({ members: z.array(MemberState), deleted: z.boolean() });
export type Membership = z.infer<typeof Membership>;

export type MembershipChange =
  | { readonly type: "add"; readonly userId: string; readonly role: ProjectRole }
  | { readonly type: "role"; readonly userId: string; readonly role: ProjectRole }
  | { readonly type: "remove"; readonly userId: string }
  | { readonly type: "delete" };

/** People in one project. Every change writes the whole list, about 90 bytes each. */
const MEMBERS_PER_PROJECT = 500;

export function roleIn(state: Membership | undefined, userId: string): ProjectRole | undefined {
  if (state === undefined || state.deleted) return undefined;
  return state.members.find((member) => member.userId === userId)?.role;
}

/** The only writer of a membership. Throws `not_found`, `already_member`, `last_owner` or `conflict` (full). */
export function changeMembership(state: Membership, change: MembershipChange, at: string): Membership {
  if (state.deleted) throw new Failure("not_found");
  const next = apply(state, change, at);
  if (!next.members.some((member) => member.role === "owner")) throw new Failure("last_owner");
  return next;
}

function apply(state: Membership, change: MembershipChange, at: string): Membership {
  switch (change.type) {
    case "delete":
      return { ...state, deleted: true };
    case "add": {
      const { userId, role } = change;
      if (roleIn(state, userId) !== undefined) throw new Failure("already_member");
      if (state.members.length >= MEMBERS_PER_PROJECT) {
        throw new Failure("conflict", `A project has at most ${MEMBERS_PER_PROJECT} members`);
      }
      return { ...state, members: [...state.members, { userId, role, joinedAt: at }] };
    }
    case "role":
    case "remove":
      if (roleIn(state, change.userId) === undefined) throw new Failure("not_found");
      return { ...state, members: state.members.flatMap((member) => changed(member, change)) };
    default:
      return assertNever(change);
  }
}

function changed(member: MemberState, change: MembershipChange & { type: "role" | "remove" }): MemberState[] {
  if (member.userId !== change.userId) return [member];
  return change.type === "remove" ? [] : [{ ...member, role: change.role }];
}
