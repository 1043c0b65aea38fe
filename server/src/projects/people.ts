import { Failure, type Member, type ProjectRole } from "@scriptorium/shared";
import type { UserDoc, Users } from "../identity/users.ts";
import { demand } from "../policy.ts";
import type { Members } from "./members.ts";
import { roleIn, type Membership, type MemberState } from "./membership.ts";
import type { PageRequest } from "./papers.ts";

/** Members with their names: membership joined with accounts. */
export interface People {
  list(
    caller: string,
    projectId: string,
    page: PageRequest,
  ): Promise<{ items: Member[]; nextCursor: string | null }>;
  add(
    caller: string,
    projectId: string,
    who: { userId?: string | undefined; username?: string | undefined; role: ProjectRole },
  ): Promise<Member>;
  setRole(caller: string, projectId: string, who: { userId: string; role: ProjectRole }): Promise<Member>;
  /** Removing oneself is leaving. */
  remove(caller: string, projectId: string, userId: string): Promise<void>;
}

export function createPeople(deps: { users: Users; members: Members }): People {
  const { users, members } = deps;

  const present = async (state: MemberState): Promise<Member | undefined> => {
    const user = await users.get(state.userId);
    if (user === undefined) return undefined;
    const { username, displayName, color } = users.present(user);
    return { ...state, username, displayName, color };
  };
  const memberIn = async (membership: Membership, userId: string): Promise<Member> => {
    const state = membership.members.find((member) => member.userId === userId);
    const member = state === undefined ? undefined : await present(state);
    if (member === undefined) throw new Failure("not_found");
    return member;
  };
  const find = async (who: {
    userId?: string | undefined;
    username?: string | undefined;
  }): Promise<UserDoc> => {
    const user =
      who.userId === undefined ? await users.byName(who.username ?? "") : await users.get(who.userId);
    if (user === undefined) throw new Failure("not_found", "There is no such user");
    return user;
  };

  return {
    list: async (caller, projectId, { limit, cursor }) => {
      const state = await members.state(projectId);
      demand(roleIn(state, caller), "project.read");
      const rest = (state?.members ?? [])
        .toSorted((a, b) => compare(placeOf(a), placeOf(b)))
        .filter((member) => cursor === undefined || placeOf(member) > cursor);
      const page = rest.slice(0, limit);
      const last = page.at(-1);
      const items = (await Promise.all(page.map(present))).filter((member) => member !== undefined);
      return { items, nextCursor: rest.length > limit && last !== undefined ? placeOf(last) : null };
    },
    add: async (caller, projectId, { role, ...who }) => {
      // Asked first, so that only those who may add learn whether a user exists.
      demand(await members.roleOf(projectId, caller), "members.manage");
      const { id } = await find(who);
      return memberIn(await members.change(projectId, caller, { type: "add", userId: id, role }), id);
    },
    setRole: async (caller, projectId, { userId, role }) =>
      memberIn(await members.change(projectId, caller, { type: "role", userId, role }), userId),
    remove: async (caller, projectId, userId) => {
      await members.change(projectId, caller, { type: "remove", userId });
    },
  };
}

/** Order of joining; the id decides between people who joined in the same millisecond. */
const placeOf = (member: MemberState) => `${member.joinedAt} ${member.userId}`;
const compare = (a: string, b: string) => (a < b ? -1 : Number(a > b));
