import { CreateProjectBody, ListQuery, PatchProjectBody, Project } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Accounts } from "../../identity/accounts.ts";
import type { Deletions } from "../../projects/deletions.ts";
import type { Projects } from "../../projects/projects.ts";
import { callerOf, requireCaller } from "../caller.ts";
import { NO_CONTENT, page, secured } from "../schemas.ts";

const tags = ["projects"];
const params = z.object({ projectId: z.string() });
const create = secured({
  tags,
  summary: "Open a project; its maker is its owner",
  body: CreateProjectBody,
  response: { 201: Project },
});
const list = secured({
  tags,
  summary: "My projects, the one joined last first",
  querystring: ListQuery,
  response: { 200: page(Project) },
});
const get = secured({ tags, summary: "One project", params, response: { 200: Project } });
const patch = secured({
  tags,
  summary: "Change the fields that are sent, nothing else",
  params,
  body: PatchProjectBody,
  response: { 200: Project },
});
const remove = secured({
  tags,
  summary: "Delete the project with its papers and documents",
  params,
  response: { 204: NO_CONTENT },
});

export interface ProjectRoutesDeps {
  readonly accounts: Accounts;
  readonly projects: Projects;
  readonly deletions: Deletions;
}

export function projectRoutes(deps: ProjectRoutesDeps): FastifyPluginAsyncZod {
  const { projects, deletions } = deps;
  return async (app) => {
    requireCaller(app, deps.accounts);
    app.post("/projects", create, async (request, reply) => {
      const project = await projects.create(callerOf(request).userId, request.body);
      return reply.code(201).send(project);
    });
    app.get("/projects", list, (request) => projects.list(callerOf(request).userId, request.query));
    app.get("/projects/:projectId", get, (request) =>
      projects.get(callerOf(request).userId, request.params.projectId),
    );
    app.patch("/projects/:projectId", patch, (request) =>
      projects.patch(callerOf(request).userId, request.params.projectId, request.body),
    );
    app.delete("/projects/:projectId", remove, async (request, reply) => {
      await deletions.project(callerOf(request).userId, request.params.projectId);
      return reply.code(204).send();
    });
  };
}
