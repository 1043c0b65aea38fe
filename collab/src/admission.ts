import { Failure, parseDocumentName } from "@scriptorium/shared";
import type { Link } from "./link.ts";
import type { Occupant } from "./occupant.ts";
import type { Access, Identity, Log } from "./ports.ts";

export interface AdmissionDeps {
  readonly access: Access;
  readonly log: Log;
  readonly links: () => Iterable<Link>;
  readonly members: () => Iterable<Occupant>;
}

/** Who may stay: renewed tokens, ended sessions, changed roles. Acts on sockets that are open. */
export interface Admission {
  /** A client has shown a newer token on an open document. Never rejects. */
  renew(member: Occupant, token: string): Promise<void>;
  /** Asks Access again about one member. Never rejects. */
  recheck(member: Occupant): Promise<void>;
  recheckUser(userId: string): Promise<void>;
  recheckAll(): Promise<void>;
  /** The same, but that whoever cannot be told about now is left alone. Never rejects. */
  reviewAll(): Promise<void>;
  revokeSession(sessionId: string): void;
  /** Counts what was rechecked and revoked: who was admitted at a lower count was perhaps not here to be found. */
  readonly changes: number;
}

/** Of everybody: more would crowd out whoever asks the store for something else. */
const RECHECKS_AT_ONCE = 50;

export function createAdmission({ access, log, links, members }: AdmissionDeps): Admission {
  const ask = createQuestions(access);
  let changes = 0;

  async function recheck(member: Occupant): Promise<void> {
    try {
      await ask(member);
    } catch (error) {
      // When it cannot be told, the safe answer is to start over: the client reconnects and is asked again.
      log.error({ err: error, userId: member.identity.userId }, "cannot recheck a member");
      member.link.refuse("try_later", "recheck");
    }
  }

  return {
    async renew(member, token) {
      const { link } = member;
      const askedAt = changes;
      try {
        const identity = await access.identify(token, link.door);
        if (identity.userId !== member.identity.userId) throw new Failure("forbidden");
        for (const each of link.members.values()) each.identity = identity;
        link.renewed(identity);
        // What was revoked while Access was asked was not yet this socket's to lose.
        if (changes !== askedAt) await recheck(member);
      } catch (error) {
        if (error instanceof Failure) link.refuse(error.code, "token renewal");
        // The token that was shown first goes on to its own expiry; the client shows another when it reconnects.
        else log.error({ err: error }, "cannot renew a token");
      }
    },

    recheck,

    async recheckUser(userId) {
      changes += 1;
      const theirs = [...members()].filter((member) => member.identity.userId === userId);
      await Promise.all(theirs.map(recheck));
    },

    async recheckAll() {
      changes += 1;
      await someAtOnce(members(), recheck);
    },

    reviewAll: () => someAtOnce(members(), ask),

    get changes() {
      return changes;
    },

    revokeSession(sessionId) {
      changes += 1;
      for (const link of links())
        if (identitiesOf(link).some((identity) => identity.sessionId === sessionId))
          link.refuse("session_revoked", "");
    },
  };
}

/** Asks Access about a member who is there, and does as it says. Rejects when it cannot be asked. */
function createQuestions(access: Access): (member: Occupant) => Promise<void> {
  /** The latest question about a member that was answered, by its number: an older one may be answered later. */
  const answered = new WeakMap<Occupant, number>();
  let questions = 0;

  return async (member) => {
    const name = parseDocumentName(member.connection.document.name);
    if (name === undefined) return;
    questions += 1;
    const question = questions;
    if (!(await access.isLive(member.identity))) return member.link.refuse("session_revoked", "");
    const permission = await access.permission(member.identity, name);
    if (question < (answered.get(member) ?? 0)) return;
    answered.set(member, question);
    if (permission === "none") return member.link.refuse("forbidden", "");
    if (permission === member.permission) return;
    member.permission = permission;
    member.announce();
    member.resume();
  };
}

/** Never rejects: how one ends is no concern of the others. */
async function someAtOnce(
  members: Iterable<Occupant>,
  work: (member: Occupant) => Promise<void>,
): Promise<void> {
  const all = [...members];
  for (let from = 0; from < all.length; from += RECHECKS_AT_ONCE)
    await Promise.allSettled(all.slice(from, from + RECHECKS_AT_ONCE).map(work));
}

/** The tokens that a socket lives by: the latest that was shown, and the one that each document was opened with. */
function identitiesOf(link: Link): Identity[] {
  const opened = [...link.members.values()].map((member) => member.identity);
  return link.identity === undefined ? opened : [link.identity, ...opened];
}
