import type { ReadOnlyReason } from "@scriptorium/shared";

/** Why a document cannot be written here, for good until it is opened again. */
export type StopReason = "signed-out" | "forbidden" | "missing" | "too-large" | "refused";

/** The socket, as it tells: it may be dead and say open. */
export type Link = "connecting" | "open" | "offline";

export interface SaveInputs {
  readonly link: Link;
  /** The server has confirmed, on this connection, everything this copy held when it connected. */
  readonly settled: boolean;
  /** Edits that no commit is acknowledged for. */
  readonly unsaved: number;
  readonly readOnly: ReadOnlyReason | null;
  readonly stopped: StopReason | null;
  /** Milliseconds since the oldest unsaved edit, or the last sign of progress after it. 0 when nothing waits. */
  readonly waitedMs: number;
}

/** What the badge says. Only `saved` claims that the work is safe, and only acknowledged commits lead to it. */
export type SaveState =
  | { readonly kind: "connecting"; readonly unsaved: 0 }
  | { readonly kind: "saved"; readonly unsaved: 0 }
  | { readonly kind: "pending"; readonly unsaved: number; readonly slow: boolean }
  | { readonly kind: "readonly"; readonly unsaved: number; readonly reason: ReadOnlyReason | StopReason }
  | { readonly kind: "offline"; readonly unsaved: number };

/** A commit takes milliseconds; past this the person should know that something is wrong. */
export const SLOW_AFTER_MS = 8_000;

export function saveState(inputs: SaveInputs): SaveState {
  const { unsaved } = inputs;
  if (inputs.stopped !== null) return { kind: "readonly", unsaved, reason: inputs.stopped };
  if (inputs.link === "offline") return { kind: "offline", unsaved };
  if (inputs.link === "open" && inputs.readOnly !== null)
    return { kind: "readonly", unsaved, reason: inputs.readOnly };
  if (unsaved > 0) return { kind: "pending", unsaved, slow: inputs.waitedMs >= SLOW_AFTER_MS };
  return inputs.link === "open" && inputs.settled
    ? { kind: "saved", unsaved: 0 }
    : { kind: "connecting", unsaved: 0 };
}
