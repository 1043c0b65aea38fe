import { Failure, isId, newId } from "@scriptorium/shared";
import { RateLimiterMemory } from "rate-limiter-flexible";
import type { Collection, Doc, OpenCollection } from "../storage/ports.ts";
import { sameText } from "./refresh-token.ts";

/**
 * Single-use tickets for clients that can only put a token into a URL (y-websocket). A ticket says whose it is and is
 * sealed, so that any node takes what another one has issued; that it was used is decided by an insert under its id.
 */
export interface Tickets {
  /** Throws `rate_limited` for a session that asks for too many. */
  issue(who: TicketHolder): Promise<string>;
  /** The holder, once. Throws `unauthenticated` for anything else. */
  take(ticket: string): Promise<TicketHolder>;
}

export interface TicketHolder {
  readonly userId: string;
  readonly sessionId: string;
}

export interface TicketsDeps {
  readonly open: OpenCollection;
  /** A code over the text that only this installation can make. */
  readonly mac: (text: string) => Promise<string>;
  readonly now: () => number;
}

export const TICKET_SECONDS = 60;
const PREFIX = "tk_";
/** Of one session, for each node and TICKET_SECONDS: each one that is used costs a row of the store. */
const TICKETS_PER_SESSION = 200;
/** A used ticket is remembered for long enough that no node whose clock is off by hours would take it again. */
const REMEMBERED_MS = 6 * 3_600_000;
/** So often, in tickets taken, the old ones are looked for, and so many are removed at once. */
const SWEEP = 100;

interface UsedTicket extends Doc {
  readonly usedAt: string;
}

interface Ticket extends TicketHolder {
  readonly id: string;
  /** Unix ms. */
  readonly expiresAt: number;
}

export function isTicket(token: string): boolean {
  return token.startsWith(PREFIX);
}

export function createTickets({ open, mac, now }: TicketsDeps): Tickets {
  const used: Collection<UsedTicket> = open({ name: "tickets", unique: [], indexes: [] });
  const perSession = new RateLimiterMemory({ points: TICKETS_PER_SESSION, duration: TICKET_SECONDS });
  let taken = 0;

  const sealed = async ({ id, userId, sessionId, expiresAt }: Ticket): Promise<string> => {
    const says = [id, userId, sessionId, expiresAt].join(".");
    return `${PREFIX}${says}.${await mac(`ticket|${says}`)}`;
  };
  /** What is sealed was made by `issue`, of ids and a number. */
  const opened = async (text: string): Promise<Ticket> => {
    const [id = "", userId = "", sessionId = "", expires = ""] = text.slice(PREFIX.length).split(".");
    const ticket = { id, userId, sessionId, expiresAt: Number(expires) };
    const valid = isId(id) && isId(userId) && isId(sessionId) && Number.isSafeInteger(ticket.expiresAt);
    if (!valid || !sameText(await sealed(ticket), text)) throw new Failure("unauthenticated");
    return ticket;
  };
  const sweep = async (): Promise<void> => {
    const forgotten = new Date(now() - REMEMBERED_MS).toISOString();
    const oldest = await used.find({ where: {}, limit: SWEEP });
    for (const { id, usedAt } of oldest) if (usedAt < forgotten) await used.remove(id);
  };

  return {
    async issue(who) {
      try {
        await perSession.consume(who.sessionId);
      } catch {
        // The limiter in memory rejects for nothing else.
        throw new Failure("rate_limited", undefined, { retryAfterSeconds: TICKET_SECONDS });
      }
      const { userId, sessionId } = who;
      return sealed({ id: newId(now()), userId, sessionId, expiresAt: now() + TICKET_SECONDS * 1_000 });
    },
    async take(text) {
      const { id, userId, sessionId, expiresAt } = await opened(text);
      if (expiresAt <= now()) throw new Failure("unauthenticated", "The ticket has expired");
      if ((await used.insert({ id, usedAt: new Date(now()).toISOString() })) === "taken")
        throw new Failure("unauthenticated", "The ticket was used already");
      taken += 1;
      if (taken % SWEEP === 0) await sweep();
      return { userId, sessionId };
    },
  };
}
