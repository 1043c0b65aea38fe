import { AddMemberBody, ListQuery, Member, PatchMemberBody } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Accounts } from "../../identity/accounts.ts";
import type { People } from "../../projects/people.ts";
import { callerOf, requireCaller } from "../caller.ts";
import { NO_CONTENT, page, secured } from "../schemas.ts";

const tags = ["members"];
const params = z.object({ projectId: z.string() });
const memberParams = z.object({ projectId: z.string(), userId: z.string() });
const list = secured({
  tags,
  summary: "The members, in the order of joining",
  params,
  querystring: ListQuery,
  response: { 200: page(Member) },
});
const add = secured({
  tags,
  summary: "Add somebody by id or user name",
  params,
  body: AddMemberBody,
  response: { 201: Member },
});
const setRole = secured({
  tags,
  summary: "Change a role; acts on open documents at once",
  params: memberParams,
  body: PatchMemberBody,
  response: { 200: Member },
});
const remove = secured({
  tags,
  summary: "Remove somebody, or leave",
  params: memberParams,
  response: { 204: NO_CONTENT },
});

export function memberRoutes(deps: { accounts: Accounts; people: People }): FastifyPluginAsyncZod {
  const { people } = deps;
  return async (app) => {
    requireCaller(app, deps.accounts);
    app.get("/projects/:projectId/members", list, (request) =>
      people.list(callerOf(request).userId, request.params.projectId, request.query),
    );
    app.post("/projects/:projectId/members", add, async (request, reply) => {
      const member = await people.add(callerOf(request).userId, request.params.projectId, request.body);
      return reply.code(201).send(member);
    });
    app.patch("/projects/:projectId/members/:userId", setRole, (request) => {
      const { projectId, userId } = request.params;
      return people.setRole(callerOf(request).userId, projectId, { userId, role: request.body.role });
    });
    app.delete("/projects/:projectId/members/:userId", remove, async (request, reply) => {
      const { projectId, userId } = request.params;
      await people.remove(callerOf(request).userId, projectId, userId);
      return reply.code(204).send();
    });
  };
}
