import { FAILURES, shouldReconnect } from "@scriptorium/shared";
import type { StopReason } from "./save-state.ts";

/** What the client does about a closed socket. */
export type CloseAction =
  | { readonly do: "reconnect" }
  /** Open once more with a renewed token; when that is refused too, the person has to sign in. */
  | { readonly do: "renew" }
  /** The document was replaced: the local copy must not be merged into it. */
  | { readonly do: "start-over" }
  | { readonly do: "stop"; readonly reason: StopReason };

/** Raised by the provider itself when the socket has been silent; an exception to the rule for 44xx (design, 10). */
const SILENT = 4408;

export function closeAction(code: number): CloseAction {
  if (code === SILENT || shouldReconnect(code)) return { do: "reconnect" };
  switch (code) {
    case FAILURES.unauthenticated.close:
      return { do: "renew" };
    case FAILURES.document_replaced.close:
      return { do: "start-over" };
    case FAILURES.forbidden.close:
      return { do: "stop", reason: "forbidden" };
    case FAILURES.not_found.close:
      return { do: "stop", reason: "missing" };
    case FAILURES.document_too_large.close:
      return { do: "stop", reason: "too-large" };
    default:
      return { do: "stop", reason: "refused" };
  }
}
