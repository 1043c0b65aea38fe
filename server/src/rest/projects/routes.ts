import { CreateProjectBody, ListQuery, PatchProjectBody, Project } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Accounts } from "../../identity/accounts.ts";
import type { Deletions } from "../../projects/deletions.ts";
import type { Projects } from "../../projects/projects.ts";
import { callerOf, requireCaller } from "../caller.ts";
import { NO_CONTENT, page, PROBLEMS, SECURED } from "../schemas.ts";

const tags = ["projects"];
const params = z.object({ projectId: z.string() });

export function projectRoutes(deps: {
  accounts: Accounts;
  projects: Projects;
  deletions: Deletions;
}): FastifyPluginAsyncZod {
  const { projects, deletions } = deps;
  return async (app) => {
    requireCaller(app, deps.accounts);
    app.post(
      "/projects",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "Open a project; its maker is its owner",
          body: CreateProjectBody,
          response: { 201: Project, ...PROBLEMS },
        },
      },
      async (request, reply) => {
        const project = await projects.create(callerOf(request).userId, request.body);
        return reply.code(201).send(project);
      },
    );
    app.get(
      "/projects",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "My projects, the one joined last first",
          querystring: ListQuery,
          response: { 200: page(Project), ...PROBLEMS },
        },
      },
      (request) => projects.list(callerOf(request).userId, request.query),
    );
    app.get(
      "/projects/:projectId",
      {
        schema: { ...SECURED, tags, summary: "One project", params, response: { 200: Project, ...PROBLEMS } },
      },
      (request) => projects.get(callerOf(request).userId, request.params.projectId),
    );
    app.patch(
      "/projects/:projectId",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "Change what is sent, nothing else",
          params,
          body: PatchProjectBody,
          response: { 200: Project, ...PROBLEMS },
        },
      },
      (request) => projects.patch(callerOf(request).userId, request.params.projectId, request.body),
    );
    app.delete(
      "/projects/:projectId",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "Delete the project with its papers and documents",
          params,
          response: { 204: NO_CONTENT, ...PROBLEMS },
        },
      },
      async (request, reply) => {
        await deletions.project(callerOf(request).userId, request.params.projectId);
        return reply.code(204).send();
      },
    );
  };
}
