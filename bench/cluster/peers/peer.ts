import type { Door } from "../../collab/generator/member.ts";
import type { Services } from "../services.ts";

/** Several nodes of one server, on a common Redis and a common store. */
export interface ClusterPeer {
  readonly name: ClusterPeerName;
  readonly services: Services;
  start(nodes: number): Promise<RunningCluster>;
}

export const CLUSTER_PEER_NAMES = ["ours", "stock"] as const;
export type ClusterPeerName = (typeof CLUSTER_PEER_NAMES)[number];

export interface RunningNode {
  readonly pid: number;
  /** Writes to the store since the start: commits of the log, or whole documents. */
  writes(): Promise<number>;
  kill(): Promise<void>;
}

export interface RunningCluster {
  readonly nodes: readonly RunningNode[];
  /** Names of so many documents that did not exist before. */
  createDocuments(count: number): Promise<string[]>;
  /** The document's door at the node with this place. */
  door(document: string, node: number): Door;
  stop(): Promise<void>;
}
