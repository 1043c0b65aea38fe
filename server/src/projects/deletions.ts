import { Failure, formatDocumentName, newId, type DocumentName } from "@scriptorium/shared";
import { demand } from "../policy.ts";
import type { Collection, Doc, OpenCollection } from "../storage/ports.ts";
import type { Members } from "./members.ts";
import type { Papers } from "./papers.ts";
import type { Projects } from "./projects.ts";

/**
 * Deletion in two steps: a tombstone decides it, then what hangs on the thing is removed piece by piece, each piece
 * idempotently. A crash in between leaves the tombstone, and the sweep at the next start goes on from there.
 */
interface Tombstone extends Doc {
  readonly kind: "project" | "paper";
  readonly target: string;
  readonly by: string;
  readonly at: string;
}

export interface Deletions {
  project(caller: string, projectId: string): Promise<void>;
  paper(caller: string, paperId: string): Promise<void>;
  /** Finishes every deletion that was begun. The number that is still open, because the store failed. */
  sweep(): Promise<number>;
  /** Ends the retries of failed purges. */
  stop(): void;
}

interface DeletionsDeps {
  readonly open: OpenCollection;
  readonly members: Members;
  readonly projects: Projects;
  readonly papers: Papers;
  readonly documents: { remove(document: string): Promise<void> };
  readonly log: { error(fields: object, message: string): void };
  readonly now: () => number;
}

const BATCH = 100;
/** After a failed purge: the store may be back by then. */
const RETRY_MS = 30_000;

export function createDeletions(deps: DeletionsDeps): Deletions {
  const tombstones: Collection<Tombstone> = deps.open({ name: "deletions", unique: [], indexes: [] });
  const { members, papers, projects } = deps;
  let retry: NodeJS.Timeout | undefined;
  let stopped = false;

  const begin = async (kind: Tombstone["kind"], target: string, by: string): Promise<Tombstone> => {
    const tombstone = { id: newId(deps.now()), kind, target, by, at: new Date(deps.now()).toISOString() };
    await tombstones.insert(tombstone);
    return tombstone;
  };
  const removeDocument = (name: DocumentName) => deps.documents.remove(formatDocumentName(name));

  const purgePaper = async (id: string): Promise<void> => {
    await papers.hide(id);
    await removeDocument({ kind: "notes", id });
    await papers.remove(id);
  };

  const purgeProject = async (id: string): Promise<void> => {
    for (;;) {
      const batch = await papers.idsOf(id, BATCH);
      for (const paperId of batch) await purgePaper(paperId);
      if (batch.length < BATCH) break;
    }
    await removeDocument({ kind: "brief", id });
    await removeDocument({ kind: "board", id });
    await members.purge(id);
    await projects.remove(id);
  };

  /** Throws Failure when this person may not (any more), and the tombstone goes with it. */
  const decide = async (tombstone: Tombstone): Promise<void> => {
    if (tombstone.kind === "paper") return papers.hide(tombstone.target);
    if ((await members.state(tombstone.target))?.deleted !== false) return;
    try {
      await members.change(tombstone.target, tombstone.by, { type: "delete" });
    } catch (error) {
      if (error instanceof Failure && error.code === "forbidden") await tombstones.remove(tombstone.id);
      throw error;
    }
  };

  const purge = async (tombstone: Tombstone): Promise<void> => {
    if (tombstone.kind === "paper") await purgePaper(tombstone.target);
    else await purgeProject(tombstone.target);
    await tombstones.remove(tombstone.id);
  };

  const sweep = async (): Promise<number> => {
    let open = 0;
    let after: { after?: string } = {};
    for (;;) {
      const batch = await tombstones.find({ where: {}, limit: BATCH, ...after });
      for (const tombstone of batch) if (!(await finished(tombstone))) open += 1;
      const last = batch.at(-1);
      if (last === undefined || batch.length < BATCH) break;
      after = { after: last.id };
    }
    return open;
  };

  const finished = async (tombstone: Tombstone): Promise<boolean> => {
    try {
      await decide(tombstone);
      await purge(tombstone);
      return true;
    } catch (error) {
      if (error instanceof Failure && error.code === "forbidden") return true;
      const { kind, target } = tombstone;
      deps.log.error({ err: error, kind, target }, "a deletion could not be finished yet");
      retryLater();
      return false;
    }
  };

  const retryLater = (): void => {
    if (retry !== undefined || stopped) return;
    retry = setTimeout(() => {
      retry = undefined;
      sweep().catch((error: unknown) => {
        deps.log.error({ err: error }, "open deletions could not be read");
        retryLater();
      });
    }, RETRY_MS).unref();
  };

  return {
    project: async (caller, id) => {
      demand(await members.roleOf(id, caller), "project.delete");
      const tombstone = await begin("project", id, caller);
      await decide(tombstone);
      // Decided; a purge that fails is finished later and is no failure of this request.
      await finished(tombstone);
    },
    paper: async (caller, id) => {
      await papers.demandDeletion(caller, id);
      const tombstone = await begin("paper", id, caller);
      await decide(tombstone);
      await finished(tombstone);
    },
    sweep,
    stop: () => {
      stopped = true;
      clearTimeout(retry);
    },
  };
}
