import { useSignal } from "@preact/signals";
import type { ApiFailure } from "../api/http.ts";
import { messages } from "../i18n/messages.ts";
import { LIMITS } from "../limits.ts";
import { Field } from "../ui/field.tsx";
import { FailureText } from "../ui/states.tsx";

interface Values {
  readonly name: string;
  readonly description: string;
}

interface ProjectFormProps {
  readonly action: string;
  readonly busy: boolean;
  readonly failure: ApiFailure | null;
  readonly initial: Values;
  readonly onSubmit: (values: Values) => unknown;
}

/** Name and description, for a new project and for an old one. */
export function ProjectForm(props: ProjectFormProps) {
  const text = messages.value;
  const name = useSignal(props.initial.name);
  const description = useSignal(props.initial.description);
  const tried = useSignal(false);
  const nameError = tried.value && name.value.trim() === "" ? text.projects.nameEmpty : undefined;
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        tried.value = true;
        if (name.value.trim() === "") return;
        props.onSubmit({ name: name.value.trim(), description: description.value.trim() });
      }}
    >
      <Field label={text.projects.name} error={nameError ?? props.failure?.fields.get("name")}>
        {(control) => (
          <input
            {...control}
            class="input"
            autofocus
            maxLength={LIMITS.projectNameChars}
            data-testid="project-name"
            value={name}
            onInput={(event) => {
              name.value = event.currentTarget.value;
            }}
          />
        )}
      </Field>
      <Field
        label={text.projects.description}
        aside={<span class="muted small">{text.common.optional}</span>}
        error={props.failure?.fields.get("description")}
      >
        {(control) => (
          <textarea
            {...control}
            class="input"
            rows={4}
            maxLength={LIMITS.descriptionChars}
            data-testid="project-description"
            value={description}
            onInput={(event) => {
              description.value = event.currentTarget.value;
            }}
          />
        )}
      </Field>
      <FailureText failure={props.failure} />
      <footer class="dialog-foot">
        <button
          type="submit"
          class="button button-primary"
          data-testid="submit-project"
          disabled={props.busy}
        >
          {props.action}
        </button>
      </footer>
    </form>
  );
}
