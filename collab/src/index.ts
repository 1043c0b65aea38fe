export { createCompactor } from "./adapters/compactor.ts";
export { createCollab } from "./adapters/ws-endpoint.ts";
export type { ClusterDeps, Collab, CollabDeps, CollabStats } from "./collab.ts";
export { DEFAULT_LIMITS } from "./limits.ts";
export type { CollabLimits } from "./limits.ts";
export type {
  Access,
  Compactor,
  DocumentStore,
  Identity,
  Log,
  MergeInput,
  Peers,
  Permission,
  RowId,
  RowName,
  StoredPart,
  UpdateRow,
} from "./ports.ts";
