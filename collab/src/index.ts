export { createCompactor } from "./adapters/compactor.ts";
export { createCollab } from "./adapters/ws-endpoint.ts";
export type { ClusterDeps, Collab, CollabDeps, CollabStats } from "./collab.ts";
export { WIRE_VERSION } from "./cluster/wire.ts";
export { DEFAULT_LIMITS } from "./limits.ts";
export type { CollabLimits } from "./limits.ts";
export { beginLineage } from "./new-lineage.ts";
export { applyStored } from "./part.ts";
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
export { headStream, loadDocument } from "./snapshot.ts";
export type { StoredDocument } from "./snapshot.ts";
