import type { Occupant } from "./occupant.ts";

/**
 * The transaction origin of a member's updates. `local` with skipStoreHooks keeps Hocuspocus from running its debounced
 * whole-document store: durability is the update log's.
 */
export class MemberOrigin {
  readonly source = "local";
  readonly skipStoreHooks = true;
  readonly member: Occupant;

  constructor(member: Occupant) {
    this.member = member;
  }
}

/** The origin of everything that comes from the store; the log never sees it again. */
export const STORED = { source: "local", skipStoreHooks: true, stored: true } as const;

/** The origin of what other nodes have accepted: theirs to log, ours to send on. */
export const ELSEWHERE = { source: "local", skipStoreHooks: true, elsewhere: true } as const;
