import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

/** What a control takes from its field: the id its label points at, and what describes it. */
export interface FieldControl {
  readonly id: string;
  readonly "aria-describedby"?: string;
  readonly "aria-invalid"?: true;
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly error?: string | undefined;
  /** Stands at the right of the label. */
  readonly aside?: ComponentChildren;
  readonly children: (control: FieldControl) => ComponentChildren;
}

export function Field({ label, hint, error, aside, children }: FieldProps) {
  const id = useId();
  const note = error ?? hint;
  const control: FieldControl = {
    id,
    ...(note === undefined ? {} : { "aria-describedby": `${id}-note` }),
    ...(error === undefined ? {} : { "aria-invalid": true }),
  };
  return (
    <div class={error === undefined ? "field" : "field field-wrong"}>
      <div class="field-head">
        <label for={id}>{label}</label>
        {aside}
      </div>
      {children(control)}
      {note !== undefined && (
        <p class="field-note" id={`${id}-note`} role={error === undefined ? undefined : "alert"}>
          {note}
        </p>
      )}
    </div>
  );
}
