import { CheckCheck, CloudOff, LoaderCircle, Lock, TriangleAlert } from "lucide";
import { assertNever } from "@scriptorium/shared";
import { messages, type Messages } from "../i18n/messages.ts";
import { Icon, type IconNode } from "../ui/icon.tsx";
import type { SaveState } from "./save-state.ts";

function iconOf(state: SaveState): IconNode {
  switch (state.kind) {
    case "saved":
      return CheckCheck;
    case "readonly":
      return Lock;
    case "offline":
      return CloudOff;
    case "pending":
      return state.slow ? TriangleAlert : LoaderCircle;
    case "connecting":
      return LoaderCircle;
    default:
      return assertNever(state);
  }
}

function saveText(state: SaveState, all: Messages): string {
  const text = all.save;
  switch (state.kind) {
    case "saved":
      return text.saved;
    case "connecting":
      return text.connecting;
    case "pending":
      return state.slow ? text.slow(state.unsaved) : text.pending(state.unsaved);
    case "offline":
      return state.unsaved === 0 ? text.offline : text.offlineUnsaved(state.unsaved);
    case "readonly": {
      const kept = state.unsaved === 0 ? [] : [text.kept(state.unsaved)];
      return [text.readOnly[state.reason], ...kept].join(" · ");
    }
    default:
      return assertNever(state);
  }
}

/** Whether the work is safe. Screen readers hear of it when the kind of state changes, not at every letter. */
export function SaveBadge({ state }: { readonly state: SaveState }) {
  const all = messages.value;
  const slow = state.kind === "pending" && state.slow;
  const text = saveText(state, all);
  return (
    <span
      class={`badge badge-${slow ? "slow" : state.kind}`}
      data-testid="save-badge"
      data-state={state.kind}
      data-unsaved={state.unsaved}
      data-reason={state.kind === "readonly" ? state.reason : undefined}
      title={text}
    >
      <Icon node={iconOf(state)} size={15} />
      <span class="badge-text">{text}</span>
      <span class="visually-hidden" role="status">
        {state.kind === "pending" && !slow ? "" : text}
      </span>
    </span>
  );
}
