import type { DocumentStore } from "@scriptorium/collab";
import type { Streams } from "@scriptorium/shared";
import { appendAll, specOf, type Archive, type Target } from "../../archive.ts";
import { checkSpec } from "../../collection-spec.ts";
import type { Collection, CollectionSpec, Doc, OpenCollection } from "../../ports.ts";
import { openMemory } from "./open.ts";

const ALL = Number.MAX_SAFE_INTEGER;

/** What was seen to be written: the ports of the memory store list nothing by themselves. */
interface Seen {
  readonly collections: Map<string, { readonly spec: CollectionSpec; readonly docs: Collection<Doc> }>;
  /** Floors by name. */
  readonly streams: Map<string, number>;
  readonly documents: Set<string>;
}

/** A store for tests that can be listed and filled: the model of the others. */
export async function openMemoryArchive(): Promise<Target> {
  const memory = await openMemory();
  const seen: Seen = { collections: new Map(), streams: new Map(), documents: new Set() };
  const streams = watchedStreams(memory.streams, seen);
  const documents = { ...watchedDocuments(memory.documents, seen), heads: streams };
  const open = watchedCollections(memory.open, seen);
  const archive = archiveOf(seen, { streams, open });
  const close = () => memory.close();
  return { store: { ...memory, streams, documents, open }, archive, close, finish: close };
}

function archiveOf(seen: Seen, { streams, open }: { streams: Streams; open: OpenCollection }): Archive {
  return {
    async collections() {
      const specs: CollectionSpec[] = [];
      for (const { spec, docs } of seen.collections.values())
        if ((await docs.find({ where: {}, limit: 1 })).length > 0) specs.push(spec);
      return specs;
    },
    async *docs(collection) {
      yield* (await seen.collections.get(collection)?.docs.find({ where: {}, limit: ALL })) ?? [];
    },
    async *streams() {
      for (const [name, floor] of seen.streams) {
        const entries = await streams.read(name, 1, ALL);
        if (entries.length > 0) yield { name, floor, entries };
      }
    },
    async *streamNames(prefix) {
      for (const name of seen.streams.keys()) if (name.startsWith(prefix)) yield name;
    },
    async *documents() {
      yield* seen.documents;
    },
    async addDocs(spec, docs) {
      for (const doc of docs) await open(spec).insert(doc);
    },
    addStreams: (given) => appendAll(streams, given),
  };
}

function watchedStreams(streams: Streams, seen: Seen): Streams {
  return {
    ...streams,
    async append(name, entry) {
      if (!seen.streams.has(name)) seen.streams.set(name, 1);
      return streams.append(name, entry);
    },
    async trim(name, before) {
      const head = await streams.head(name);
      await streams.trim(name, before);
      if (head === undefined) return;
      seen.streams.set(name, Math.max(seen.streams.get(name) ?? 1, Math.min(before, head.at)));
    },
  };
}

function watchedDocuments(documents: DocumentStore, seen: Seen): DocumentStore {
  return {
    ...documents,
    appendRows: (rows) => {
      for (const row of rows) seen.documents.add(row.document);
      return documents.appendRows(rows);
    },
  };
}

function watchedCollections(open: OpenCollection, seen: Seen): OpenCollection {
  return <T extends Doc>(spec: CollectionSpec): Collection<T> => {
    checkSpec(spec);
    const known = specOf(spec.name, { unique: spec.unique, plain: spec.indexes });
    if (!seen.collections.has(spec.name))
      seen.collections.set(spec.name, { spec: known, docs: open<Doc>(spec) });
    return open<T>(spec);
  };
}
