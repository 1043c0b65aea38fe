import type { Paper, PatchPaperBody } from "@scriptorium/shared";
import { LIMITS } from "../limits.ts";

/** The fields of a paper while someone edits them. The year is text here, so that it can be half typed. */
export const LINE_FIELDS = [
  "title",
  "publication",
  "event",
  "volume",
  "issue",
  "pages",
  "url",
  "doi",
] as const;
export const LIST_FIELDS = ["authors", "keywords", "tags"] as const;
export type LineField = (typeof LINE_FIELDS)[number];
export type ListField = (typeof LIST_FIELDS)[number];
export type PaperField = LineField | ListField | "abstract" | "publicationYear";

export type PaperDraft = Readonly<Record<LineField | "abstract" | "publicationYear", string>> &
  Readonly<Record<ListField, readonly string[]>>;

export function draftOf(paper: Paper): PaperDraft {
  return { ...paper, publicationYear: paper.publicationYear === 0 ? "" : String(paper.publicationYear) };
}

export type FieldProblem = "titleEmpty" | "urlInvalid" | "doiInvalid" | "yearInvalid";

const DOI = /^10\.\d{4,9}\/\S+$/;
const URL_CHARS = 2_000;

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && text.length <= URL_CHARS;
}

function isYear(text: string): boolean {
  return /^\d{1,4}$/.test(text) && Number(text) >= 1 && Number(text) <= 3000;
}

/** Fields that the server would refuse. They are shown with their problem and not sent. */
export function problems(draft: PaperDraft): ReadonlyMap<PaperField, FieldProblem> {
  const found = new Map<PaperField, FieldProblem>();
  const [url, doi, year] = [draft.url.trim(), draft.doi.trim(), draft.publicationYear.trim()];
  if (draft.title.trim() === "") found.set("title", "titleEmpty");
  if (url !== "" && !isHttpUrl(url)) found.set("url", "urlInvalid");
  if (doi !== "" && !DOI.test(doi)) found.set("doi", "doiInvalid");
  if (year !== "" && !isYear(year)) found.set("publicationYear", "yearInvalid");
  return found;
}

/** The fields that differ from what the server has and that it would accept: the body of the next PATCH. */
export function changes(saved: Paper, draft: PaperDraft): PatchPaperBody {
  const wrong = problems(draft);
  const body: PatchPaperBody = {};
  for (const field of [...LINE_FIELDS, "abstract"] as const) {
    const value = draft[field].trim();
    if (!wrong.has(field) && value !== saved[field]) body[field] = value;
  }
  for (const field of LIST_FIELDS) {
    if (JSON.stringify(draft[field]) !== JSON.stringify(saved[field])) body[field] = [...draft[field]];
  }
  const year = Number(draft.publicationYear.trim());
  if (!wrong.has("publicationYear") && year !== saved.publicationYear) body.publicationYear = year;
  return body;
}

/** A DOI as people paste it (a doi.org address, a "doi:" prefix), bare. */
export function bareDoi(text: string): string {
  return text.trim().replace(/^(?:https?:\/\/(?:dx\.)?doi\.org\/|doi:\s*)/i, "");
}

/** The items that a typed or pasted text adds to a list: split, trimmed, without what is there already or is too much. */
export function addItems(items: readonly string[], text: string, separators: RegExp): readonly string[] {
  const fresh = text.split(separators).map((item) => item.trim().slice(0, LIMITS.listItemChars));
  return [...new Set([...items, ...fresh.filter((item) => item !== "")])].slice(0, LIMITS.listItems);
}
