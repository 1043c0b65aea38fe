import { Failure, type DocumentName } from "@scriptorium/shared";
import { isTicket, type Tickets } from "./identity/tickets.ts";
import type { Accounts } from "./identity/accounts.ts";
import type { Sessions } from "./identity/sessions.ts";
import type { Users } from "./identity/users.ts";
import { documentPermission } from "./policy.ts";
import type { Members } from "./projects/members.ts";
import type { Papers } from "./projects/papers.ts";

interface Person {
  readonly userId: string;
  readonly sessionId: string;
  readonly name: string;
  readonly color: string;
  readonly expiresAt: number;
}

/** The collaboration room's questions, answered from accounts, projects and the policy. */
export interface DocumentAccess {
  identify(token: string, door: "collab" | "yjs"): Promise<Person>;
  permission(
    person: Pick<Person, "userId">,
    document: DocumentName,
  ): Promise<ReturnType<typeof documentPermission>>;
  isLive(person: Pick<Person, "sessionId">): Promise<boolean>;
}

export interface AccessDeps {
  readonly accounts: Accounts;
  readonly sessions: Sessions;
  readonly tickets: Tickets;
  readonly users: Users;
  readonly members: Members;
  readonly papers: Papers;
}

export function createAccess(deps: AccessDeps): DocumentAccess {
  const { accounts, sessions, tickets, users, members, papers } = deps;

  const byTicket = async (token: string) => {
    const holder = await tickets.take(token);
    const { live, until } = await sessions.state(holder.sessionId);
    if (!live) throw new Failure("session_revoked");
    // A y-websocket client cannot present a newer token on an open socket: it lives as long as its session.
    return { ...holder, expiresAt: until };
  };

  return {
    identify: async (token, door) => {
      const who =
        door === "yjs" && isTicket(token) ? await byTicket(token) : await accounts.authenticate(token);
      const user = await users.get(who.userId);
      if (user === undefined) throw new Failure("session_revoked");
      const { displayName, color } = users.present(user);
      const { userId, sessionId, expiresAt } = who;
      return { userId, sessionId, expiresAt, name: displayName, color };
    },
    permission: async ({ userId }, { kind, id }) => {
      const projectId = kind === "notes" ? await papers.projectOf(id) : id;
      if (projectId === undefined) return "none";
      return documentPermission(await members.roleOf(projectId, userId), kind);
    },
    isLive: async ({ sessionId }) => (await sessions.state(sessionId)).live,
  };
}
