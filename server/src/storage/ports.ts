/**
 * What the server's rooms need from a store, beside `Streams` (shared) and `DocumentStore` (collab). One collection per
 * noun; each has an adapter per store and the contract suite in `testing/collection-contract.ts` runs over all.
 */

/** JSON values only; undefined fields are not stored. Times are ISO strings so that they sort as text. */
export interface Doc {
  readonly id: string;
}

export interface CollectionSpec {
  readonly name: string;
  /** Each inner list is one unique key. A document that lacks one of the fields is outside that key. */
  readonly unique: readonly (readonly string[])[];
  /** Each inner list is one index: equality fields. Every listing is ordered by id, which is time-ordered. */
  readonly indexes: readonly (readonly string[])[];
}

export type InsertOutcome = "ok" | "taken";

export interface FindOptions {
  /** Equality on top-level scalar fields; must be covered by an index or unique key of the spec. */
  readonly where: Readonly<Record<string, string | number | boolean>>;
  /** Only documents with id > after. */
  readonly after?: string;
  /** Newest first (id descending; then `after` means id < after). */
  readonly descending?: boolean;
  readonly limit: number;
}

export interface Collection<T extends Doc> {
  /** `taken` when the id or a unique key exists already. Durable when resolved. */
  insert(doc: T): Promise<InsertOutcome>;
  get(id: string): Promise<T | undefined>;
  find(options: FindOptions): Promise<T[]>;
  /**
   * Sets the given top-level fields and no others, so that two people who patch different fields both win. The new
   * document, `missing` when there is none, `taken` when a unique key would collide.
   */
  patch(id: string, fields: Partial<Omit<T, "id">>): Promise<T | "missing" | "taken">;
  /** Whether there was one to remove. */
  remove(id: string): Promise<boolean>;
  /** Removes all that match and says how many. */
  removeWhere(where: FindOptions["where"]): Promise<number>;
}

/** Opens the collection of a spec; called once per noun at start. */
export type OpenCollection = <T extends Doc>(spec: CollectionSpec) => Collection<T>;
