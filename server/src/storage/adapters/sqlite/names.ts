import type { Meter, Prepare } from "./statements.ts";

/** Names kept in memory per kind; beyond, the cache starts anew and asks the store again. */
const REMEMBERED = 20_000;

export interface NodeName {
  readonly id: number;
  /** Unix ms that the times of this node's rows count from. */
  readonly base: number;
}

/** Small whole numbers for the strings that every row would otherwise repeat. */
export interface Names {
  lineage(document: string, epoch: number): number;
  node(name: string, now: number): NodeName;
  author(name: string): number;
  /** Forgets what was remembered: after a rollback the store may not have it. */
  forget(): void;
}

export function internNames(prepare: Prepare, meter: Meter): Names {
  const lineages = new Map<string, { readonly epoch: number; readonly id: number }>();
  const nodes = new Map<string, NodeName>();
  const authors = new Map<string, number>();
  const addLineage = prepare("INSERT INTO lineage (document, epoch) VALUES (?, ?) ON CONFLICT DO NOTHING");
  const findLineage = prepare("SELECT id FROM lineage WHERE document = ? AND epoch = ?");
  const addNode = prepare("INSERT INTO node (name, base) VALUES (?, ?) ON CONFLICT DO NOTHING");
  const findNode = prepare("SELECT id, base FROM node WHERE name = ?");
  const addAuthor = prepare("INSERT INTO author (name) VALUES (?) ON CONFLICT DO NOTHING");
  const findAuthor = prepare("SELECT id FROM author WHERE name = ?");

  return {
    lineage(document, epoch) {
      const known = lineages.get(document);
      // Only the newest epoch that was asked for is remembered: a document is written in one at a time.
      if (known?.epoch === epoch) return known.id;
      if (Number(addLineage.run(document, epoch).changes) > 0) meter.bytes += document.length + 2;
      const id = Number(findLineage.get(document, epoch)?.["id"]);
      remember(lineages, document, { epoch, id });
      return id;
    },

    node(name, now) {
      const known = nodes.get(name);
      if (known !== undefined) return known;
      if (Number(addNode.run(name, now).changes) > 0) meter.bytes += name.length + 6;
      const found = findNode.get(name);
      const node = { id: Number(found?.["id"]), base: Number(found?.["base"]) };
      remember(nodes, name, node);
      return node;
    },

    author(name) {
      const known = authors.get(name);
      if (known !== undefined) return known;
      if (Number(addAuthor.run(name).changes) > 0) meter.bytes += name.length;
      const id = Number(findAuthor.get(name)?.["id"]);
      remember(authors, name, id);
      return id;
    },

    forget() {
      lineages.clear();
      nodes.clear();
      authors.clear();
    },
  };
}

function remember<T>(cache: Map<string, T>, name: string, value: T): void {
  if (cache.size >= REMEMBERED) cache.clear();
  cache.set(name, value);
}
