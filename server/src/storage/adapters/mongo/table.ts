import type { Collection, Db, Document, OptionalUnlessRequiredId } from "mongodb";
import { ReadConcern, ReadPreference, WriteConcern } from "mongodb";
import { duplicatesIn } from "./faults.ts";

/** Every document of the store is found by a text that we make, see keys.ts. */
export interface Stored {
  readonly _id: string;
}

export interface Durability {
  /** A replica set or a router in front of some, by its own word. */
  readonly replicated: boolean;
  /** How long a write may wait for the majority. */
  readonly replicationMs: number;
}

/** Opens collections that promise what the store promises, whatever the connection string asks for. */
export type OpenTable = <T extends Stored>(name: string) => Collection<T>;

/**
 * On a replica set a write counts when a majority has it in its journal, and a read sees nothing that an election could
 * take back. Alone, a server has no majority: its own journal is what there is, and what it has is what a read sees.
 */
export function openTables(db: Db, { replicated, replicationMs }: Durability): OpenTable {
  const options = replicated
    ? {
        writeConcern: new WriteConcern("majority", replicationMs, true),
        readConcern: new ReadConcern("majority"),
        readPreference: ReadPreference.primary,
      }
    : { writeConcern: new WriteConcern(1, undefined, true), readPreference: ReadPreference.primary };
  return <T extends Stored>(name: string) => db.collection<T>(name, options);
}

/**
 * Inserts what is not there yet and gives the places of those that were: for an identity that only its writer can make,
 * that means that an earlier attempt had landed. The server answers a refusal only when what it refers to is durable.
 */
export async function insertAll<T extends Stored & Document>(
  table: Collection<T>,
  documents: readonly OptionalUnlessRequiredId<T>[],
): Promise<readonly number[]> {
  if (documents.length === 0) return [];
  try {
    await table.insertMany(documents, { ordered: false });
    return [];
  } catch (error) {
    const there = duplicatesIn(error);
    if (there === undefined) throw error;
    return there;
  }
}
