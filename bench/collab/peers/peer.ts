import type { Door } from "../generator/member.ts";

/** A server to measure. Everything a scenario does with one goes through here, so that all are treated alike. */
export interface Peer {
  readonly name: PeerName;
  /** Whether an ack exists in its protocol. */
  readonly acks: boolean;
  /** Whether it can be started with a store that outlives the process. */
  readonly stores: boolean;
  start(options: PeerOptions): Promise<RunningPeer>;
}

export const PEER_NAMES = ["ours", "stock", "y-websocket", "ours-yjs"] as const;
export type PeerName = (typeof PEER_NAMES)[number];

export interface PeerOptions {
  /** Where its data is, across restarts. */
  readonly directory: string;
  /** With its durable store; ours has it always. */
  readonly store: boolean;
}

export interface RunningPeer {
  readonly pid: number;
  /** Doors to so many documents that did not exist before. */
  createDoors(count: number): Promise<Door[]>;
  /** The door to a document of an earlier run on the same directory. */
  reopen(door: Door): Promise<Door>;
  /** Bytes handed to the store since the start; undefined when it does not say. */
  storedBytes(): Promise<number | undefined>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}
