import { formatDocumentName, type DocumentName } from "@scriptorium/shared";
import type { Members } from "./members.ts";
import type { Papers } from "./papers.ts";
import type { Projects } from "./projects.ts";

/** Removes what hangs on a deleted thing, piece by piece and each piece idempotently: safe to begin again. */
export interface Purge {
  paper(id: string): Promise<void>;
  project(id: string): Promise<void>;
}

export interface PurgeDeps {
  readonly members: Members;
  readonly projects: Projects;
  readonly papers: Papers;
  readonly documents: { remove(document: string): Promise<void> };
}

const BATCH = 100;

export function createPurge({ members, projects, papers, documents }: PurgeDeps): Purge {
  const removeDocument = (name: DocumentName) => documents.remove(formatDocumentName(name));

  const paper = async (id: string): Promise<void> => {
    // Hidden first: nobody may open the notes again while they are being removed.
    await papers.hide(id);
    await removeDocument({ kind: "notes", id });
    await papers.remove(id);
  };

  return {
    paper,
    project: async (id) => {
      for (;;) {
        const batch = await papers.idsOf(id, BATCH);
        for (const paperId of batch) await paper(paperId);
        if (batch.length < BATCH) break;
      }
      await removeDocument({ kind: "brief", id });
      await removeDocument({ kind: "board", id });
      await members.purge(id);
      await projects.remove(id);
    },
  };
}
