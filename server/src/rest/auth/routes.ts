import { LoginBody, RefreshBody, RegisterBody, Session, SocketTicket, TokenPair } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Accounts } from "../../identity/accounts.ts";
import type { SessionDoc, Sessions } from "../../identity/sessions.ts";
import { TICKET_SECONDS, type Tickets } from "../../identity/tickets.ts";
import { callerOf, originOf, requireCaller } from "../caller.ts";
import { NO_CONTENT, open, page, secured } from "../schemas.ts";

const tags = ["auth"];
const register = open({
  tags,
  summary: "Make an account; the first one is the administrator",
  body: RegisterBody,
  response: { 201: TokenPair },
});
const login = open({ tags, summary: "Sign in", body: LoginBody, response: { 200: TokenPair } });
const refresh = open({
  tags,
  summary: "Exchange a refresh token for its one successor; safe to retry for 60 s",
  body: RefreshBody,
  response: { 200: TokenPair },
});
const logout = secured({ tags, summary: "End this session", response: { 204: NO_CONTENT } });
const list = secured({
  tags,
  summary: "The devices that are signed in",
  response: { 200: page(Session) },
});
const endOthers = secured({ tags, summary: "End all other sessions", response: { 204: NO_CONTENT } });
const endOne = secured({
  tags,
  summary: "End one session",
  params: z.object({ sessionId: z.string() }),
  response: { 204: NO_CONTENT },
});
const ticket = secured({
  tags,
  summary: "A single-use ticket for a y-websocket client, to be used within 60 s",
  response: { 201: SocketTicket },
});

export interface AuthRoutesDeps {
  readonly accounts: Accounts;
  readonly sessions: Sessions;
  readonly tickets: Tickets;
}

/** Sign-in: what needs no session. */
export function signInRoutes({ accounts }: AuthRoutesDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.post("/auth/register", register, async (request, reply) => {
      const pair = await accounts.register(request.body, originOf(request));
      return reply.code(201).send(pair);
    });
    app.post("/auth/login", login, (request) => accounts.login(request.body, originOf(request)));
    app.post("/auth/refresh", refresh, (request) => accounts.refresh(request.body.refreshToken));
  };
}

/** Sessions and tickets of the person who asks. */
export function sessionRoutes({ accounts, sessions, tickets }: AuthRoutesDeps): FastifyPluginAsyncZod {
  return async (app) => {
    requireCaller(app, accounts);
    app.post("/auth/logout", logout, async (request, reply) => {
      const { userId, sessionId } = callerOf(request);
      await sessions.revoke(userId, sessionId);
      return reply.code(204).send();
    });
    app.get("/auth/sessions", list, async (request) => {
      const { userId, sessionId } = callerOf(request);
      const items = (await sessions.list(userId)).map((session) => present(session, sessionId));
      return { items, nextCursor: null };
    });
    app.delete("/auth/sessions", endOthers, async (request, reply) => {
      const { userId, sessionId } = callerOf(request);
      await sessions.revokeOthers(userId, sessionId);
      return reply.code(204).send();
    });
    app.delete("/auth/sessions/:sessionId", endOne, async (request, reply) => {
      await sessions.revoke(callerOf(request).userId, request.params.sessionId);
      return reply.code(204).send();
    });
    app.post("/auth/tickets", ticket, async (request, reply) => {
      const { userId, sessionId } = callerOf(request);
      const issued = await tickets.issue({ userId, sessionId });
      return reply.code(201).send({ ticket: issued, expiresIn: TICKET_SECONDS });
    });
  };
}

function present({ userId: _userId, ...session }: SessionDoc, currentId: string): Session {
  return { ...session, current: session.id === currentId };
}
