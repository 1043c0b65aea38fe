import { Failure, newId, type PatchProject, type Project } from "@scriptorium/shared";
import { demand } from "../policy.ts";
import type { Collection, Doc, OpenCollection } from "../storage/ports.ts";
import { sent } from "../fields.ts";
import { roleIn } from "./membership.ts";
import type { Members } from "./members.ts";
import type { PageRequest } from "./papers.ts";

interface ProjectDoc extends Doc {
  readonly name: string;
  readonly description: string;
  readonly createdAt: string;
  readonly updatedAt: string;
}

export interface Projects {
  create(caller: string, fields: { name: string; description: string }): Promise<Project>;
  /** The caller's projects, the one joined last first. */
  list(caller: string, page: PageRequest): Promise<{ items: Project[]; nextCursor: string | null }>;
  get(caller: string, projectId: string): Promise<Project>;
  patch(caller: string, projectId: string, fields: PatchProject): Promise<Project>;
  /** Forgets the project itself, after everything that hung on it is gone. */
  remove(projectId: string): Promise<void>;
}

export function createProjects(deps: {
  open: OpenCollection;
  members: Members;
  now: () => number;
}): Projects {
  const projects: Collection<ProjectDoc> = deps.open({ name: "projects", unique: [], indexes: [] });
  const { members } = deps;
  const iso = () => new Date(deps.now()).toISOString();

  /** The project as this person sees it, or undefined when it is not theirs to see. */
  const view = async (caller: string, projectId: string): Promise<Project | undefined> => {
    const [project, state] = await Promise.all([projects.get(projectId), members.state(projectId)]);
    const role = roleIn(state, caller);
    return project === undefined || role === undefined ? undefined : { ...project, role };
  };

  return {
    create: async (caller, fields) => {
      const createdAt = iso();
      const project = { id: newId(deps.now()), ...fields, createdAt, updatedAt: createdAt };
      await projects.insert(project);
      await members.create(project.id, caller);
      return { ...project, role: "owner" };
    },
    list: async (caller, { limit, cursor }) => {
      const after = cursor === undefined ? {} : { after: cursor };
      const rows = await members.projectsOf(caller, { limit: limit + 1, ...after });
      const page = rows.slice(0, limit);
      const seen = await Promise.all(page.map((row) => view(caller, row.projectId)));
      const nextCursor = rows.length > limit ? (page.at(-1)?.id ?? null) : null;
      return { items: seen.filter((project) => project !== undefined), nextCursor };
    },
    get: async (caller, projectId) => {
      const project = await view(caller, projectId);
      if (project === undefined) throw new Failure("not_found");
      return project;
    },
    patch: async (caller, projectId, fields) => {
      const role = await members.roleOf(projectId, caller);
      demand(role, "project.edit");
      const project = await projects.patch(projectId, { ...sent(fields), updatedAt: iso() });
      if (typeof project === "string") throw new Failure("not_found");
      return { ...project, role };
    },
    remove: async (projectId) => {
      await projects.remove(projectId);
    },
  };
}
