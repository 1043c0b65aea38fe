export { createCompactor } from "./adapters/compactor.ts";
export { createCollab } from "./adapters/ws-endpoint.ts";
export type { Collab, CollabDeps, CollabStats } from "./collab.ts";
export { DEFAULT_LIMITS } from "./limits.ts";
export type { CollabLimits } from "./limits.ts";
export type {
  Access,
  Compactor,
  DocumentStore,
  Identity,
  Log,
  MergeInput,
  Permission,
  RowId,
  StoredPart,
  UpdateRow,
} from "./ports.ts";
