/** Every bound of the collaboration server, with its reason. What happens beyond each: collab/SPEC.md, "Limits". */
export interface CollabLimits {
  /** One WebSocket message in; larger closes 1009. A whole full notes document must fit (offline merge). */
  readonly messageBytes: number;
  /** Encoded size of a document; an update that would pass it closes its sender with 4413. */
  readonly documentBytes: number;
  /** Sustained document messages per second and connection; above, the socket is read no faster than this. A presence
   * message counts for a fiftieth, because y-websocket clients send everybody's presence back; and every 256 KB count
   * for a message more. */
  readonly messagesPerSecond: number;
  /** Messages that may come at once before the rate applies. */
  readonly messageBurst: number;
  /** A client that has been throttled for this long without a pause is closed with 4529. */
  readonly floodMs: number;
  /** Bytes queued towards one client; beyond, document traffic stops until it drains, then one diff is sent. */
  readonly clientBufferBytes: number;
  /** A client that has not drained for this long is closed with 4508. */
  readonly stallMs: number;
  /** Bytes and messages queued from a client that has not authenticated yet; beyond closes 4529. */
  readonly pendingBytes: number;
  readonly pendingMessages: number;
  /** Time from the upgrade to the first authenticated document. Beyond closes 4401. */
  readonly authenticateMs: number;
  /** Documents on one socket; beyond closes 4429. */
  readonly documentsPerSocket: number;
  /** Sockets of this process; beyond the upgrade is answered 503. */
  readonly sockets: number;
  /** JSON of one awareness state; larger is refused with 1009. */
  readonly awarenessBytes: number;
  /** Presence changes passed on per second and client; what comes faster is coalesced to the latest. */
  readonly awarenessPerSecond: number;
  /** Server heartbeat. Both client libraries reconnect after 30 s of silence. */
  readonly heartbeatMs: number;
  /** A client that gave no sign of life, not even a pong, for this long is closed with 4504. */
  readonly silenceMs: number;
  /** Least time between the starts of two commits under load; a lone edit commits at once. A commit costs about as much
   * CPU as sixty deliveries, so this is what keeps durability cheap for a busy document. */
  readonly commitPaceMs: number;
  /** The same while people on another node have a document open too: they see what is committed, so they wait for it. */
  readonly sharedCommitPaceMs: number;
  /** Presence waits this long for company. What is typed meanwhile goes out at once and takes the presence along, so a
   * caret that moves with the typing costs no write of its own. */
  readonly presenceWindowMs: number;
  /** Rows and bytes of one commit. */
  readonly commitRows: number;
  readonly commitBytes: number;
  /** Updates accepted but not committed; beyond, or after storeGraceMs of failure, documents turn read-only. */
  readonly uncommittedBytes: number;
  readonly storeGraceMs: number;
  /** Rows since the last compaction that trigger one, and their bytes. */
  readonly compactRows: number;
  readonly compactBytes: number;
  /** Deltas of one level that are merged into one of the next, and the size of all, relative to the base, that triggers
   * a new base. */
  readonly deltas: number;
  readonly deltaRatio: number;
  /** A larger update is not sent to other nodes, only announced: they read it from the log when they need it. */
  readonly fanOutBytes: number;
  /** Presence for other nodes waits this long for company; a person who leaves is told of at once. */
  readonly presenceFanOutMs: number;
  /** Nodes that join a document within this time are answered together. */
  readonly replyMs: number;
  /** Between two answers for one document: of a hundred nodes that join one after the other, each would be answered by all. */
  readonly replyPauseMs: number;
  /** How often a node repeats how far it is with a document that it has changed since. */
  readonly digestMs: number;
  /** How often a node says that it is alive, and the silence after which its people are taken for gone. */
  readonly beatMs: number;
  readonly leaseMs: number;
  /** While some node cannot be heard: how often each document is read from the log, and how many a second at most. */
  readonly pollMs: number;
  readonly pollsPerSecond: number;
  /** Documents that are read from the log at the same time. */
  readonly readsAtOnce: number;
  /** When the log does not list what was announced, it is read once more after this long: longer than a member of a replica
   * set can take itself for the primary that it is no more (MongoDB: 10 s by default). */
  readonly confirmMs: number;
}

export const DEFAULT_LIMITS: CollabLimits = {
  messageBytes: 8 * 1024 * 1024,
  documentBytes: 4 * 1024 * 1024,
  messagesPerSecond: 50,
  messageBurst: 200,
  floodMs: 30_000,
  clientBufferBytes: 1024 * 1024,
  stallMs: 60_000,
  pendingBytes: 8 * 1024 * 1024,
  pendingMessages: 200,
  authenticateMs: 10_000,
  documentsPerSocket: 50,
  sockets: 20_000,
  awarenessBytes: 2 * 1024,
  awarenessPerSecond: 10,
  heartbeatMs: 20_000,
  silenceMs: 65_000,
  commitPaceMs: 100,
  sharedCommitPaceMs: 50,
  presenceWindowMs: 30,
  commitRows: 5_000,
  commitBytes: 4 * 1024 * 1024,
  uncommittedBytes: 64 * 1024 * 1024,
  storeGraceMs: 10_000,
  compactRows: 500,
  compactBytes: 256 * 1024,
  deltas: 16,
  deltaRatio: 0.5,
  fanOutBytes: 128 * 1024,
  presenceFanOutMs: 60,
  replyMs: 100,
  replyPauseMs: 1_000,
  digestMs: 5_000,
  beatMs: 1_000,
  leaseMs: 3_000,
  pollMs: 1_000,
  pollsPerSecond: 200,
  readsAtOnce: 4,
  confirmMs: 15_000,
};
