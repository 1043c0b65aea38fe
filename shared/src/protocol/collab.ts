import { z } from "zod";

/**
 * Message types of the Hocuspocus wire protocol (v4): `varString address, varUint type, ...`.
 * Source: @hocuspocus/server 4.7 `src/types.ts`. Sync and Awareness have the same numbers in y-websocket.
 */
export const MESSAGE = {
  sync: 0,
  awareness: 1,
  auth: 2,
  queryAwareness: 3,
  syncReply: 4,
  stateless: 5,
  broadcastStateless: 6,
  close: 7,
  syncStatus: 8,
  ping: 9,
  pong: 10,
} as const;

/** Sub-types of a Sync message. Source: y-protocols 1.0 `sync.js`. */
export const SYNC = { step1: 0, step2: 1, update: 2 } as const;

/** Why a document is read-only for this connection right now. */
export const READ_ONLY_REASONS = ["role", "store", "draining"] as const;
export type ReadOnlyReason = (typeof READ_ONLY_REASONS)[number];

/**
 * What the server says beside the Yjs protocol, as the JSON payload of a stateless message.
 * `state` is sent once after authentication and again at every change; `epoch` identifies the document's lineage.
 * `reset` comes before close code 4410: the local copy belongs to a replaced lineage and must not be merged.
 */
export const CollabNotice = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("state"),
    epoch: z.number().int().positive(),
    readOnly: z.enum(READ_ONLY_REASONS).nullable(),
  }),
  z.object({ type: z.literal("reset"), epoch: z.number().int().positive() }),
]);
export type CollabNotice = z.infer<typeof CollabNotice>;
