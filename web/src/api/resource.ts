import { useSignal, type Signal } from "@preact/signals";
import { useCallback, useEffect } from "preact/hooks";
import { ApiFailure } from "./http.ts";

export type Resource<Value> =
  | { readonly at: "loading" }
  | { readonly at: "ready"; readonly value: Value }
  | { readonly at: "failed"; readonly failure: ApiFailure };

export interface Loaded<Value> {
  readonly state: Signal<Resource<Value>>;
  /** Shows a value that is known already, such as the answer to a PATCH. */
  readonly set: (value: Value) => void;
  readonly reload: () => void;
}

/** Loads when the screen opens and when `key` changes. Anything but an ApiFailure is a bug and surfaces as one. */
export function useResource<Value>(key: string, load: () => Promise<Value>): Loaded<Value> {
  const state = useSignal<Resource<Value>>({ at: "loading" });
  const turn = useSignal(0);
  useEffect(() => {
    let wanted = true;
    state.value = { at: "loading" };
    const settle = (next: Resource<Value>) => {
      if (wanted) state.value = next;
    };
    const open = async () => {
      try {
        settle({ at: "ready", value: await load() });
      } catch (error) {
        if (!(error instanceof ApiFailure)) throw error;
        settle({ at: "failed", failure: error });
      }
    };
    void open();
    return () => {
      wanted = false;
    };
  }, [key, turn.value]);
  const set = useCallback((value: Value) => {
    state.value = { at: "ready", value };
  }, []);
  const reload = useCallback(() => {
    turn.value += 1;
  }, []);
  return { state, set, reload };
}

export interface Action {
  readonly busy: Signal<boolean>;
  readonly failure: Signal<ApiFailure | null>;
  /** Runs one request at a time; resolves true when it went through. */
  readonly run: (work: () => Promise<void>) => Promise<boolean>;
}

/** The state of something the person does: busy, and how it failed. */
export function useAction(): Action {
  const busy = useSignal(false);
  const failure = useSignal<ApiFailure | null>(null);
  const run = useCallback(async (work: () => Promise<void>) => {
    if (busy.peek()) return false;
    busy.value = true;
    failure.value = null;
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      failure.value = error;
      return false;
    } finally {
      busy.value = false;
    }
  }, []);
  return { busy, failure, run };
}
