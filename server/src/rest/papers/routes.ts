import { CreatePaperBody, ListQuery, Paper, PatchPaperBody } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Accounts } from "../../identity/accounts.ts";
import type { Deletions } from "../../projects/deletions.ts";
import type { Papers } from "../../projects/papers.ts";
import { callerOf, requireCaller } from "../caller.ts";
import { NO_CONTENT, page, secured } from "../schemas.ts";

const tags = ["papers"];
const params = z.object({ paperId: z.string() });
const projectParams = z.object({ projectId: z.string() });
const create = secured({
  tags,
  summary: "Add a paper",
  params: projectParams,
  body: CreatePaperBody,
  response: { 201: Paper },
});
const list = secured({
  tags,
  summary: "The project's papers, newest first",
  params: projectParams,
  querystring: ListQuery,
  response: { 200: page(Paper) },
});
const get = secured({ tags, summary: "One paper", params, response: { 200: Paper } });
const patch = secured({
  tags,
  summary: "Change the fields that are sent, nothing else",
  params,
  body: PatchPaperBody,
  response: { 200: Paper },
});
const remove = secured({
  tags,
  summary: "Delete the paper with its notes",
  params,
  response: { 204: NO_CONTENT },
});

export interface PaperRoutesDeps {
  readonly accounts: Accounts;
  readonly papers: Papers;
  readonly deletions: Deletions;
}

export function paperRoutes(deps: PaperRoutesDeps): FastifyPluginAsyncZod {
  const { papers, deletions } = deps;
  return async (app) => {
    requireCaller(app, deps.accounts);
    app.post("/projects/:projectId/papers", create, async (request, reply) => {
      const paper = await papers.create(callerOf(request).userId, request.params.projectId, request.body);
      return reply.code(201).send(paper);
    });
    app.get("/projects/:projectId/papers", list, (request) =>
      papers.list(callerOf(request).userId, request.params.projectId, request.query),
    );
    app.get("/papers/:paperId", get, (request) =>
      papers.get(callerOf(request).userId, request.params.paperId),
    );
    app.patch("/papers/:paperId", patch, (request) =>
      papers.patch(callerOf(request).userId, request.params.paperId, request.body),
    );
    app.delete("/papers/:paperId", remove, async (request, reply) => {
      await deletions.paper(callerOf(request).userId, request.params.paperId);
      return reply.code(204).send();
    });
  };
}
