import type { Connection } from "@hocuspocus/server";
import type { Link } from "./link.ts";
import type { Identity, Permission } from "./ports.ts";

/**
 * The log position after which an update may be acknowledged, or why it was not taken. `refused`: not now; the client
 * keeps it, and will be asked for it.
 */
export type UpdateOutcome = number | "full" | "malformed" | "refused";

/** One client on one document, as its room sees it. Implemented by member.ts. */
export interface Occupant {
  readonly link: Link;
  readonly connection: Connection;
  readonly identity: Identity;
  permission: Permission;
  /** The Yjs client id under which this client's presence is shown. */
  presenceClient: number | undefined;
  /** What became of one update that the room took. */
  settled(outcome: UpdateOutcome): void;
  /** Tells the client what it may do now. */
  announce(): void;
  /** Asks the client for what was refused, if it may write now. */
  resume(): void;
  /** Tells the client that its copy belongs to a replaced lineage, and closes it. */
  reset(): void;
  /** The document is closed for this client. */
  left(): void;
}
