import { IndexeddbPersistence } from "y-indexeddb";
import type * as Y from "yjs";

/** What a local copy remembers of the server's document. */
interface CopyFacts {
  /** The lineage it belongs to. 0: copied from a server that did not say. */
  readonly epoch: number;
  /** This person could only read when last connected. */
  readonly readOnly: boolean;
}

export interface LocalCopy {
  /** Resolves when what is kept is in the document; undefined when the document was never copied here. */
  readonly loaded: Promise<CopyFacts | undefined>;
  /** The transaction origin of what comes from the copy, be it from another tab. */
  readonly origin: unknown;
  readonly remember: (facts: CopyFacts) => void;
  /** Empties the copy, unless it was emptied or refilled from another lineage by another tab meanwhile. */
  readonly forget: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const FACTS = "facts";
/** IndexedDB may hang for good (a blocked upgrade, a broken profile): the document then works without a copy. */
const LOAD_MS = 4_000;

/** The record as it was kept: JSON, since y-indexeddb keeps no objects. */
function readFacts(kept: unknown): CopyFacts | undefined {
  const value: unknown = typeof kept === "string" ? JSON.parse(kept) : undefined;
  if (typeof value !== "object" || value === null || !("epoch" in value) || !("readOnly" in value))
    return undefined;
  const { epoch, readOnly } = value;
  return typeof epoch === "number" && typeof readOnly === "boolean" ? { epoch, readOnly } : undefined;
}

/** Keeps `doc` in the named database, as updates beside a record of facts. */
export function openLocalCopy(name: string, doc: Y.Doc): LocalCopy {
  const persistence = new IndexeddbPersistence(name, doc);
  let known: CopyFacts | undefined;

  const load = async () => {
    await persistence.whenSynced;
    known = readFacts(await persistence.get(FACTS));
    return known;
  };
  const giveUp = new Promise<undefined>((resolve) => {
    setTimeout(resolve, LOAD_MS);
  });

  const forget = async () => {
    const { db } = persistence;
    if (db === null) return;
    await new Promise<void>((resolve, reject) => {
      const transaction = db.transaction(["updates", "custom"], "readwrite");
      transaction.addEventListener("complete", () => resolve());
      transaction.addEventListener("abort", () =>
        reject(transaction.error ?? new Error("the copy was not emptied")),
      );
      const custom = transaction.objectStore("custom");
      const found = custom.get(FACTS);
      found.addEventListener("success", () => {
        if (known !== undefined && readFacts(found.result)?.epoch !== known.epoch) return;
        custom.clear();
        transaction.objectStore("updates").clear();
      });
    });
  };

  return {
    loaded: Promise.race([load(), giveUp]),
    origin: persistence,
    remember: (facts) => {
      if (known?.epoch === facts.epoch && known.readOnly === facts.readOnly) return;
      known = facts;
      void persistence.set(FACTS, JSON.stringify(facts));
    },
    forget,
    close: () => persistence.destroy(),
  };
}
