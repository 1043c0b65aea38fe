import type { StreamEntry, Streams } from "@scriptorium/shared";
import type { CollectionSpec, Doc } from "./ports.ts";
import type { Store } from "./store.ts";

/** A stream whole. Positions below the floor were trimmed away and stay taken. */
export interface StoredStream {
  readonly name: string;
  readonly floor: number;
  /** Ascending, none below the floor, never empty. */
  readonly entries: readonly StreamEntry[];
}

/**
 * What moving and keeping need of a store beside its ports: to list what there is, and to write much at once. While
 * others write, a listing has at least what was there when it began and is there when it ends, and of each stream an
 * end that it really had; what is consistent with what beyond that is for the order of the listings to say.
 */
export interface Archive {
  /** Collections that hold anything, with their keys as the store has them: nothing else says which there are. */
  collections(): Promise<readonly CollectionSpec[]>;
  /** Documents of a collection by ascending id. */
  docs(collection: string): AsyncIterable<Doc>;
  streams(): AsyncIterable<StoredStream>;
  /** Names of the streams that begin so. */
  streamNames(prefix: string): AsyncIterable<string>;
  /** Names of the live documents that have rows, each once; also some that had. All others have at least a head. */
  documents(): AsyncIterable<string>;
  /** Durable when resolved. What is there already stays as it is, so that it can be repeated. */
  addDocs(spec: CollectionSpec, docs: readonly Doc[]): Promise<void>;
  /** The same for streams. */
  addStreams(streams: readonly StoredStream[]): Promise<void>;
}

/** A store that is opened to be read or written as a whole. */
export interface Holding {
  readonly store: Store;
  readonly archive: Archive;
  close(): Promise<void>;
}

/** A store that is being filled. No server serves it before it is finished. */
export interface Target extends Holding {
  /** From here on it is an installation like any other, and this object is closed. */
  finish(): Promise<void>;
}

/** The keys and indexes behind a store's index names, in one order for every store. */
export function specOf(
  name: string,
  keys: { unique: readonly (readonly string[])[]; plain: readonly (readonly string[])[] },
): CollectionSpec {
  const text = (fields: readonly string[]): string => fields.join(" ");
  const inOrder = (lists: readonly (readonly string[])[]) =>
    lists.toSorted((a, b) => (text(a) < text(b) ? -1 : 1));
  const unique = new Set(keys.unique.map(text));
  // A store may keep a plain index for a unique key, too; that one is of its own making.
  const plain = keys.plain.filter((fields) => !unique.has(text(fields)));
  return { name, unique: inOrder(keys.unique), indexes: inOrder(plain) };
}

/** Adds streams through their port, for a store whose port is quick enough when it is asked much at once. */
export async function appendAll(streams: Streams, given: readonly StoredStream[]): Promise<void> {
  await Promise.all(
    given.map(async ({ name, floor, entries }) => {
      await Promise.all(entries.map((entry) => streams.append(name, entry)));
      if (floor > 1) await streams.trim(name, floor);
    }),
  );
}
