import { computed, signal, type ReadonlySignal } from "@preact/signals";
import type { Paper, PatchPaperBody } from "@scriptorium/shared";
import { ApiFailure } from "../api/http.ts";
import { changes, draftOf, problems, type PaperDraft } from "./paper-draft.ts";

/** A pause in typing after which changed fields are sent. */
const PAUSE_MS = 900;

export type AutosaveState = "saved" | "waiting" | "saving" | "failed" | "invalid";

export interface Autosave {
  readonly draft: ReadonlySignal<PaperDraft>;
  readonly state: ReadonlySignal<AutosaveState>;
  readonly failure: ReadonlySignal<ApiFailure | null>;
  readonly edit: (part: Partial<PaperDraft>) => void;
  /** Sends what is changed without waiting for a pause. */
  readonly flush: () => Promise<void>;
  readonly stop: () => void;
}

interface AutosaveDeps {
  readonly paper: Paper;
  readonly patch: (body: PatchPaperBody) => Promise<Paper>;
  readonly onSaved: (paper: Paper) => void;
}

/** Sends the changed fields of a paper, one request at a time. */
export function createAutosave({ paper, patch, onSaved }: AutosaveDeps): Autosave {
  const draft = signal(draftOf(paper));
  const saved = signal(paper);
  const saving = signal(false);
  const failure = signal<ApiFailure | null>(null);
  let timer: ReturnType<typeof setTimeout> | undefined;

  const body = computed(() => changes(saved.value, draft.value));
  const state = computed<AutosaveState>(() => {
    if (saving.value) return "saving";
    if (failure.value !== null) return "failed";
    if (problems(draft.value).size > 0) return "invalid";
    return Object.keys(body.value).length > 0 ? "waiting" : "saved";
  });

  const flush = async () => {
    clearTimeout(timer);
    if (saving.peek()) return;
    saving.value = true;
    failure.value = null;
    try {
      while (Object.keys(body.peek()).length > 0) {
        saved.value = await patch(body.peek());
        onSaved(saved.peek());
      }
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      failure.value = error;
    } finally {
      saving.value = false;
    }
  };

  const onOnline = () => void flush();
  addEventListener("online", onOnline);
  const onLeave = (event: BeforeUnloadEvent) => {
    if (state.peek() !== "saved") event.preventDefault();
  };
  addEventListener("beforeunload", onLeave);

  return {
    draft,
    state,
    failure,
    edit: (part) => {
      draft.value = { ...draft.peek(), ...part };
      clearTimeout(timer);
      timer = setTimeout(() => void flush(), PAUSE_MS);
    },
    flush,
    stop: () => {
      removeEventListener("online", onOnline);
      removeEventListener("beforeunload", onLeave);
      void flush();
    },
  };
}
