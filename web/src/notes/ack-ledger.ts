import { assertNever } from "@scriptorium/shared";

/**
 * Which of this client's edits the server has not yet acknowledged as committed.
 *
 * `unsyncedChanges` of the Hocuspocus provider cannot be shown as it is: it is set to 1 at every (re)connection whatever
 * was typed offline, and the first of several acks then brings it to 0 while the others are still on their way. The
 * server answers each sync message that carries content with exactly one SyncStatus, in order, so the ledger keeps one
 * entry per message sent and takes off one per answer.
 *
 * A document that was read-only and is no more makes the one exception: the server asks for the refused edits by a state
 * vector of its own, and the diff that answers it is itself answered once for each message that was refused.
 */
export interface AckLedger {
  /** Edits in no message on this connection: typed offline, held back, or refused. */
  readonly unsent: number;
  /** One per message that waits for its answer, oldest first. */
  readonly sent: readonly Sent[];
  /** The server has answered this connection's state-vector diff with yes: it has all that this copy had before it. */
  readonly settled: boolean;
  /** Messages that were answered with no on this connection; each has a yes to come. */
  readonly refused: number;
}

interface Sent {
  readonly edits: number;
  readonly diff: boolean;
}

export type LedgerEvent =
  | { readonly type: "edit" }
  /** A message with an update that holds so many of the unsent edits (0: someone else's, from another tab). */
  | { readonly type: "update"; readonly edits: number }
  /** The answer to the server's state vector, which holds everything that is unsent. */
  | { readonly type: "diff" }
  /** The same, to a state vector that the server sent unasked: the document can be written again. */
  | { readonly type: "resume" }
  | { readonly type: "answer"; readonly committed: boolean }
  | { readonly type: "closed" };

/** `unsent`: edits of an earlier visit that were still waiting when it ended. */
export function openLedger(unsent: number): AckLedger {
  return { unsent, sent: [], settled: false, refused: 0 };
}

export function unsaved(ledger: AckLedger): number {
  return ledger.sent.reduce((sum, message) => sum + message.edits, ledger.unsent);
}

export function step(ledger: AckLedger, event: LedgerEvent): AckLedger {
  switch (event.type) {
    case "edit":
      return { ...ledger, unsent: ledger.unsent + 1 };
    case "update": {
      const edits = Math.min(event.edits, ledger.unsent);
      return { ...ledger, unsent: ledger.unsent - edits, sent: [...ledger.sent, { edits, diff: false }] };
    }
    case "diff":
      return { ...ledger, unsent: 0, sent: [...ledger.sent, { edits: ledger.unsent, diff: true }] };
    case "resume":
      return resume(ledger);
    case "answer":
      return answer(ledger, event.committed);
    case "closed":
      return openLedger(unsaved(ledger));
    default:
      return assertNever(event);
  }
}

/** The refused edits are safe when the last of their answers has come. */
function resume(ledger: AckLedger): AckLedger {
  const { unsent, refused } = ledger;
  if (refused === 0) return ledger;
  const awaited = Array.from({ length: refused }, (_, index) => ({
    edits: index === refused - 1 ? unsent : 0,
    diff: index === refused - 1,
  }));
  return { ...ledger, unsent: 0, refused: 0, sent: [...ledger.sent, ...awaited] };
}

function answer(ledger: AckLedger, committed: boolean): AckLedger {
  const [first, ...sent] = ledger.sent;
  if (first === undefined) return ledger;
  if (committed) return { ...ledger, sent, settled: ledger.settled || first.diff };
  // A refused diff holds at least one edit that the server does not have, even when none was counted.
  const refused = first.diff ? Math.max(first.edits, 1) : first.edits;
  return { ...ledger, unsent: ledger.unsent + refused, sent, refused: ledger.refused + 1 };
}
