import { headStream, loadDocument } from "@scriptorium/collab";
import type { Holding, StoredStream } from "../storage/archive.ts";
import type { CollectionSpec, Doc } from "../storage/ports.ts";
import type { Piece } from "./piece.ts";
import { Refused } from "./refused.ts";

/**
 * Of the nodes that run, not of the installation: of no use elsewhere. And what two copies must not have in common: with one
 * id and one secret they would take each other's messages for their own on a Redis that they share.
 */
const PASSING = { collections: new Set(["nodes"]), streams: new Set(["control", "installation"]) };
/** Read after everything that names them, since they are there before it; and what finishes a deletion after that. */
const LAST = ["projects", "users", "deletions"];
const DOCS_AT_ONCE = 500;
const STREAMS_AT_ONCE = 200;
/** Entries of one piece, unless one stream has more. */
const ENTRIES_AT_ONCE = 1_000;
/** Documents that are read ahead: most of the time a store is waited for. */
const DOCUMENTS_AHEAD = 8;

/** A unique key was seen twice: somebody gave it up while the backup was on its way, and somebody else took it. */
export class Unsettled extends Refused {}

/**
 * Everything that an installation holds. Where others write meanwhile, the order makes the result one that can be lived
 * with: everything that was there at the beginning and was not removed since is there, and whatever names something is
 * read before what it names.
 *
 * - documents first, each by its rows, then its head, then its parts (snapshot.ts in collab): their papers may be removed
 *   later, which leaves content that nobody sees; a paper whose document is gone would be worse;
 * - then streams (memberships, sessions' families): they name users and projects;
 * - then collections, and among them users and projects after the others.
 */
export async function* piecesOf(from: Pick<Holding, "store" | "archive">): AsyncGenerator<Piece> {
  yield* documentsOf(from);
  yield* streamsOf(from);
  yield* collectionsOf(from);
}

async function* documentsOf({
  store: { documents },
  archive,
}: Pick<Holding, "store" | "archive">): AsyncGenerator<Piece> {
  const names = new Set<string>();
  // Rows first here, too: what a compaction takes out of them is in a head by then.
  for await (const name of archive.documents()) names.add(name);
  const prefix = headStream("");
  for await (const stream of archive.streamNames(prefix)) names.add(stream.slice(prefix.length));
  const load = async (name: string) => ({ name, stored: await loadDocument(documents, name) });
  for await (const { name, stored } of ahead(names, load, DOCUMENTS_AHEAD))
    if (stored.at > 0 || stored.rows.length > 0) yield { kind: "document", name, stored };
}

/** In their order, `lead` at a time. */
async function* ahead<T, R>(all: Iterable<T>, work: (one: T) => Promise<R>, lead: number): AsyncGenerator<R> {
  const begun: Promise<R>[] = [];
  try {
    for (const one of all) {
      begun.push(work(one));
      const first = begun.length > lead ? begun.shift() : undefined;
      if (first !== undefined) yield await first;
    }
    for (let next = begun.shift(); next !== undefined; next = begun.shift()) yield await next;
  } finally {
    // After a failure the others end unheard.
    await Promise.allSettled(begun);
  }
}

async function* streamsOf({ archive }: Pick<Holding, "archive">): AsyncGenerator<Piece> {
  let streams: StoredStream[] = [];
  let entries = 0;
  for await (const stream of archive.streams()) {
    if (PASSING.streams.has(stream.name) || stream.name.startsWith(headStream(""))) continue;
    streams.push(stream);
    entries += stream.entries.length;
    if (streams.length < STREAMS_AT_ONCE && entries < ENTRIES_AT_ONCE) continue;
    yield { kind: "streams", streams };
    streams = [];
    entries = 0;
  }
  if (streams.length > 0) yield { kind: "streams", streams };
}

async function* collectionsOf({ archive }: Pick<Holding, "archive">): AsyncGenerator<Piece> {
  const place = ({ name }: CollectionSpec): string => `${LAST.indexOf(name) + 1} ${name}`;
  const specs = (await archive.collections()).toSorted((a, b) => (place(a) < place(b) ? -1 : 1));
  for (const spec of specs) {
    if (PASSING.collections.has(spec.name)) continue;
    const watch = watchKeys(spec);
    let docs: Doc[] = [];
    for await (const doc of archive.docs(spec.name)) {
      watch(doc);
      if (docs.push(doc) < DOCS_AT_ONCE) continue;
      yield { kind: "docs", spec, docs };
      docs = [];
    }
    if (docs.length > 0) yield { kind: "docs", spec, docs };
  }
}

/** Throws Unsettled for a document whose unique key another one had when it was read. */
function watchKeys({ name, unique }: CollectionSpec): (doc: Doc) => void {
  const seen = unique.map((fields) => ({ fields, keys: new Set<string>() }));
  return (doc) => {
    const values: Readonly<Record<string, unknown>> = { ...doc };
    for (const { fields, keys } of seen) {
      const key = fields.map((field) => values[field] ?? undefined);
      if (key.includes(undefined)) continue;
      const text = JSON.stringify(key);
      if (keys.has(text)) throw new Unsettled(`${name} were changed while they were read`);
      keys.add(text);
    }
  };
}
