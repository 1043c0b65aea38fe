import { CreatePaperBody, ListQuery, Paper, PatchPaperBody } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Accounts } from "../../identity/accounts.ts";
import type { Deletions } from "../../projects/deletions.ts";
import type { Papers } from "../../projects/papers.ts";
import { callerOf, requireCaller } from "../caller.ts";
import { NO_CONTENT, page, PROBLEMS, SECURED } from "../schemas.ts";

const tags = ["papers"];
const params = z.object({ paperId: z.string() });
const projectParams = z.object({ projectId: z.string() });

export function paperRoutes(deps: {
  accounts: Accounts;
  papers: Papers;
  deletions: Deletions;
}): FastifyPluginAsyncZod {
  const { papers, deletions } = deps;
  return async (app) => {
    requireCaller(app, deps.accounts);
    app.post(
      "/projects/:projectId/papers",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "Add a paper",
          params: projectParams,
          body: CreatePaperBody,
          response: { 201: Paper, ...PROBLEMS },
        },
      },
      async (request, reply) => {
        const paper = await papers.create(callerOf(request).userId, request.params.projectId, request.body);
        return reply.code(201).send(paper);
      },
    );
    app.get(
      "/projects/:projectId/papers",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "The project's papers, newest first",
          params: projectParams,
          querystring: ListQuery,
          response: { 200: page(Paper), ...PROBLEMS },
        },
      },
      (request) => papers.list(callerOf(request).userId, request.params.projectId, request.query),
    );
    app.get(
      "/papers/:paperId",
      { schema: { ...SECURED, tags, summary: "One paper", params, response: { 200: Paper, ...PROBLEMS } } },
      (request) => papers.get(callerOf(request).userId, request.params.paperId),
    );
    app.patch(
      "/papers/:paperId",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "Change the fields that are sent, nothing else",
          params,
          body: PatchPaperBody,
          response: { 200: Paper, ...PROBLEMS },
        },
      },
      (request) => papers.patch(callerOf(request).userId, request.params.paperId, request.body),
    );
    app.delete(
      "/papers/:paperId",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "Delete the paper with its notes",
          params,
          response: { 204: NO_CONTENT, ...PROBLEMS },
        },
      },
      async (request, reply) => {
        await deletions.paper(callerOf(request).userId, request.params.paperId);
        return reply.code(204).send();
      },
    );
  };
}
