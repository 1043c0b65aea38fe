/**
 * Messages between the nodes of one installation. The bus is an accelerator: any message may be lost, come late, twice
 * or out of order, and nothing here throws or waits. What must not be lost is in the store; the bus says where to look.
 */
export interface Bus {
  /** `down` while messages cannot be relied on to pass, also when the connection is open and silent. */
  readonly state: BusState;
  /**
   * Sends to every other node that listens; dropped, and counted, while the bus is down, its queue full or the message
   * too large for it. The bytes are the caller's again when this returns.
   */
  publish(channel: string, message: Uint8Array): void;
  /**
   * The listener is called for messages of other nodes; own messages may come back. It must not throw, and must copy
   * what it keeps: the bytes may be a view into a larger buffer. A listener that is subscribed twice is called twice.
   */
  subscribe(channel: string, listener: (message: Uint8Array) => void): Subscription;
  /** Called at every change of `state`; `up` comes only when every subscription is active again. */
  whenChanged(listener: (state: BusState) => void): () => void;
  stats(): BusStats;
  /** Sends what was published as far as it goes within a short bound; `down` from then on, and no listener is called. */
  close(): Promise<void>;
}

export type BusState = "up" | "down";

export interface Subscription {
  /**
   * True as soon as messages arrive for certain; false when the bus is, or goes, down before that, or the subscription
   * ends. Never rejects. After false the subscription is still made as soon as it can be: with the next `up` it is there.
   */
  readonly active: Promise<boolean>;
  end(): void;
}

/** Counts since the start. Bytes are those of the messages, without what the transport adds. */
export interface BusStats {
  readonly published: number;
  readonly publishedBytes: number;
  /** Messages that reached a listener, once each however many listen. */
  readonly received: number;
  readonly receivedBytes: number;
  /** Not sent: the bus was down, its queue full or the message too large. */
  readonly dropped: number;
  /** Received and thrown away: malformed, or not sealed by a node of this installation. */
  readonly refused: number;
}
