import type { Streams } from "@scriptorium/shared";
import type { DocumentStore } from "../ports.ts";

export type StoreOperation = Exclude<keyof DocumentStore, "heads"> | `heads.${keyof Streams}`;

/** A store with something done around each of its operations. */
export function eachOperation(
  inner: DocumentStore,
  around: <T>(operation: StoreOperation, work: () => Promise<T>) => Promise<T>,
): DocumentStore {
  const { heads } = inner;
  return {
    heads: {
      append: (...args) => around("heads.append", () => heads.append(...args)),
      read: (...args) => around("heads.read", () => heads.read(...args)),
      head: (...args) => around("heads.head", () => heads.head(...args)),
      trim: (...args) => around("heads.trim", () => heads.trim(...args)),
    },
    appendRows: (...args) => around("appendRows", () => inner.appendRows(...args)),
    readRows: (...args) => around("readRows", () => inner.readRows(...args)),
    listRows: (...args) => around("listRows", () => inner.listRows(...args)),
    getRows: (...args) => around("getRows", () => inner.getRows(...args)),
    removeRows: (...args) => around("removeRows", () => inner.removeRows(...args)),
    putPart: (...args) => around("putPart", () => inner.putPart(...args)),
    getPart: (...args) => around("getPart", () => inner.getPart(...args)),
    removeParts: (...args) => around("removeParts", () => inner.removeParts(...args)),
    listParts: (...args) => around("listParts", () => inner.listParts(...args)),
    purgeRows: (...args) => around("purgeRows", () => inner.purgeRows(...args)),
  };
}
