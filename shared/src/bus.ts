/**
 * Messages between the nodes of one installation. The bus is an accelerator: any message may be lost, come late, twice
 * or out of order, and nothing here throws or waits. What must not be lost is in the store; the bus says where to look.
 */
export interface Bus {
  /** `down` while messages cannot be relied on to pass, also when the connection is open and silent. */
  readonly state: BusState;
  /** Sends to every other node that listens; dropped, and counted, while the bus is down or its queue is full. */
  publish(channel: string, message: Uint8Array): void;
  /** The listener is called for messages of other nodes; own messages may come back. It must not throw. */
  subscribe(channel: string, listener: (message: Uint8Array) => void): Subscription;
  /** Called at every change of `state`; `up` comes only when every subscription is active again. */
  whenChanged(listener: (state: BusState) => void): () => void;
  stats(): BusStats;
  close(): Promise<void>;
}

export type BusState = "up" | "down";

export interface Subscription {
  /** True as soon as messages arrive for certain; false when the bus is, or goes, down before that. Never rejects. */
  readonly active: Promise<boolean>;
  end(): void;
}

/** Counts since the start. */
export interface BusStats {
  readonly published: number;
  readonly publishedBytes: number;
  readonly received: number;
  readonly receivedBytes: number;
  /** Not sent: the bus was down or its queue full. */
  readonly dropped: number;
  /** Received and thrown away: malformed, or not sealed by a node of this installation. */
  readonly refused: number;
}
