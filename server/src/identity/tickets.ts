import { randomBytes } from "node:crypto";
import { Failure } from "@scriptorium/shared";

/** Single-use tickets for clients that can only put a token into a URL (y-websocket). Kept in memory: they live 60 s. */
export interface Tickets {
  issue(who: TicketHolder): string;
  /** The holder, once. Throws `unauthenticated` for anything else. */
  take(ticket: string): TicketHolder;
}

export interface TicketHolder {
  readonly userId: string;
  readonly sessionId: string;
}

export const TICKET_SECONDS = 60;
const PREFIX = "tk_";
/** Tickets of the whole process that were not used yet; beyond, `overloaded`. About 10 MB. */
const OPEN_TICKETS = 50_000;
/** Of one session; beyond, its own tickets wait, so that one person cannot use up the room of all. */
const OPEN_TICKETS_PER_SESSION = 200;

export function isTicket(token: string): boolean {
  return token.startsWith(PREFIX);
}

export function createTickets(deps: { now: () => number }): Tickets {
  // Insertion order is order of expiry, so the dead are always at the front.
  const open = new Map<string, TicketHolder & { expiresAt: number }>();
  const perSession = new Map<string, number>();
  const drop = (ticket: string, holder: TicketHolder) => {
    open.delete(ticket);
    const left = (perSession.get(holder.sessionId) ?? 1) - 1;
    if (left === 0) perSession.delete(holder.sessionId);
    else perSession.set(holder.sessionId, left);
  };
  const sweep = () => {
    for (const [ticket, holder] of open) {
      if (holder.expiresAt > deps.now()) return;
      drop(ticket, holder);
    }
  };

  return {
    issue: (who) => {
      sweep();
      const mine = perSession.get(who.sessionId) ?? 0;
      if (mine >= OPEN_TICKETS_PER_SESSION) {
        throw new Failure("rate_limited", undefined, { retryAfterSeconds: TICKET_SECONDS });
      }
      if (open.size >= OPEN_TICKETS) {
        throw new Failure("overloaded", undefined, { retryAfterSeconds: TICKET_SECONDS });
      }
      const ticket = PREFIX + randomBytes(24).toString("base64url");
      open.set(ticket, { ...who, expiresAt: deps.now() + TICKET_SECONDS * 1000 });
      perSession.set(who.sessionId, mine + 1);
      return ticket;
    },
    take: (ticket) => {
      const holder = open.get(ticket);
      if (holder === undefined) throw new Failure("unauthenticated");
      drop(ticket, holder);
      if (holder.expiresAt <= deps.now()) throw new Failure("unauthenticated", "The ticket has expired");
      return { userId: holder.userId, sessionId: holder.sessionId };
    },
  };
}
