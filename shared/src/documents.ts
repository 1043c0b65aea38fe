import { isId } from "./ids.ts";

/** The kinds of live documents that clients write through Yjs. What each holds: design notes in collab/SPEC.md. */
export const DOCUMENT_KINDS = ["notes", "brief", "board"] as const;
export type DocumentKind = (typeof DOCUMENT_KINDS)[number];

/** `notes:<paperId>`, `brief:<projectId>` or `board:<projectId>`. */
export interface DocumentName {
  readonly kind: DocumentKind;
  /** A paper's id for notes, a project's id for brief and board. */
  readonly id: string;
}

export function formatDocumentName(name: DocumentName): string {
  return `${name.kind}:${name.id}`;
}

/** The parsed name, or undefined for anything that is not exactly one: unknown kind, bad id, extra characters. */
export function parseDocumentName(text: string): DocumentName | undefined {
  const colon = text.indexOf(":");
  const kind = DOCUMENT_KINDS.find((known) => known === text.slice(0, colon));
  const id = text.slice(colon + 1);
  if (colon < 0 || kind === undefined || !isId(id)) return undefined;
  return { kind, id };
}
