import { Failure, newId, type CreatePaperBody, type Paper, type PatchPaperBody } from "@scriptorium/shared";
import { demand, type Action } from "../policy.ts";
import type { Collection, OpenCollection } from "../storage/ports.ts";
import { sent } from "../fields.ts";
import type { Members } from "./members.ts";

interface PaperDoc extends Paper {
  /** Set when its deletion was decided; from then on it does not exist for anybody. */
  readonly deletedAt?: string;
}

export interface PageRequest {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface Papers {
  create(caller: string, projectId: string, fields: CreatePaperBody): Promise<Paper>;
  /** Newest first. */
  list(
    caller: string,
    projectId: string,
    page: PageRequest,
  ): Promise<{ items: Paper[]; nextCursor: string | null }>;
  get(caller: string, paperId: string): Promise<Paper>;
  patch(caller: string, paperId: string, fields: PatchPaperBody): Promise<Paper>;
  /** The project of a paper that exists, without asking who wants to know. */
  projectOf(paperId: string): Promise<string | undefined>;
  /** Throws unless the caller may delete it. */
  demandDeletion(caller: string, paperId: string): Promise<void>;
  /** From now on the paper does not exist for anybody. */
  hide(paperId: string): Promise<void>;
  remove(paperId: string): Promise<void>;
  /** Ids of all papers of a project that is being purged, hidden ones too; at most `limit`. */
  idsOf(projectId: string, limit: number): Promise<string[]>;
}

const EMPTY = {
  abstract: "",
  keywords: [],
  authors: [],
  tags: [],
  publicationYear: 0,
  publication: "",
  event: "",
  volume: "",
  issue: "",
  pages: "",
  url: "",
  doi: "",
};

export function createPapers(deps: { open: OpenCollection; members: Members; now: () => number }): Papers {
  const papers: Collection<PaperDoc> = deps.open({ name: "papers", unique: [], indexes: [["projectId"]] });
  const { members } = deps;
  const iso = () => new Date(deps.now()).toISOString();

  const existing = async (paperId: string): Promise<PaperDoc | undefined> => {
    const paper = await papers.get(paperId);
    return paper?.deletedAt === undefined ? paper : undefined;
  };
  const allowed = async (caller: string, paperId: string, action: Action): Promise<Paper> => {
    const paper = await existing(paperId);
    if (paper === undefined) throw new Failure("not_found");
    demand(await members.roleOf(paper.projectId, caller), action);
    return paper;
  };

  return {
    create: async (caller, projectId, fields) => {
      demand(await members.roleOf(projectId, caller), "papers.write");
      const createdAt = iso();
      const times = { createdAt, updatedAt: createdAt };
      const paper: Paper = { id: newId(deps.now()), projectId, ...EMPTY, ...sent(fields), ...times };
      await papers.insert(paper);
      // The project may have been deleted since we looked; its purge may not have seen this paper.
      if ((await members.roleOf(projectId, caller)) === undefined) {
        await papers.remove(paper.id);
        throw new Failure("not_found");
      }
      return paper;
    },
    list: async (caller, projectId, { limit, cursor }) => {
      demand(await members.roleOf(projectId, caller), "project.read");
      const after = cursor === undefined ? {} : { after: cursor };
      const found = await papers.find({ where: { projectId }, descending: true, limit: limit + 1, ...after });
      const page = found.slice(0, limit);
      const nextCursor = found.length > limit ? (page.at(-1)?.id ?? null) : null;
      return { items: page.filter((paper) => paper.deletedAt === undefined), nextCursor };
    },
    get: (caller, paperId) => allowed(caller, paperId, "project.read"),
    patch: async (caller, paperId, fields) => {
      await allowed(caller, paperId, "papers.write");
      const paper = await papers.patch(paperId, { ...sent(fields), updatedAt: iso() });
      if (typeof paper === "string") throw new Failure("not_found");
      return paper;
    },
    projectOf: async (paperId) => (await existing(paperId))?.projectId,
    demandDeletion: async (caller, paperId) => {
      await allowed(caller, paperId, "papers.write");
    },
    hide: async (paperId) => {
      await papers.patch(paperId, { deletedAt: iso() });
    },
    remove: async (paperId) => {
      await papers.remove(paperId);
    },
    idsOf: async (projectId, limit) =>
      (await papers.find({ where: { projectId }, limit })).map(({ id }) => id),
  };
}
