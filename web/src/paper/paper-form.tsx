import { CheckCheck, ExternalLink, LoaderCircle, TriangleAlert } from "lucide";
import type { ComponentChildren } from "preact";
import { messages, type Messages } from "../i18n/messages.ts";
import { LIMITS } from "../limits.ts";
import { Field } from "../ui/field.tsx";
import { Icon, type IconNode } from "../ui/icon.tsx";
import { ListInput } from "../ui/list-input.tsx";
import type { Autosave, AutosaveState } from "./autosave.ts";
import { bareDoi, problems, type LineField, type ListField, type PaperField } from "./paper-draft.ts";

/** Commas part keywords and tags; in "Lovelace, Ada" they do not part anything. */
const SEPARATORS: Readonly<Record<ListField, RegExp>> = {
  authors: /[;；\n]/u,
  keywords: /[,，;；、\n]/u,
  tags: /[,，;；、\n]/u,
};

interface PaperFormProps {
  readonly autosave: Autosave;
  readonly readOnly: boolean;
}

/** Every field of a paper. What is changed is saved after a pause and when a field is left. */
export function PaperForm({ autosave, readOnly }: PaperFormProps) {
  const text = messages.value.paper;
  const draft = autosave.draft.value;
  const wrong = problems(draft);
  const errorOf = (field: PaperField): string | undefined => {
    const problem = wrong.get(field);
    return problem === undefined ? autosave.failure.value?.fields.get(field) : text[problem];
  };
  const line = (field: LineField | "publicationYear", options: LineOptions = {}) => (
    <Field label={text[field]} error={errorOf(field)} aside={options.aside}>
      {(control) => (
        <input
          {...control}
          class="input"
          name={field}
          data-testid={`paper-${field}`}
          inputMode={options.inputMode}
          maxLength={options.maxLength ?? LIMITS.fieldChars}
          readOnly={readOnly}
          value={draft[field]}
          onInput={(event) =>
            autosave.edit({
              [field]: options.clean?.(event.currentTarget.value) ?? event.currentTarget.value,
            })
          }
        />
      )}
    </Field>
  );
  const list = (field: ListField) => (
    <Field label={text[field]} error={errorOf(field)}>
      {(control) => (
        <ListInput
          control={control}
          name={field}
          items={draft[field]}
          separators={SEPARATORS[field]}
          readOnly={readOnly}
          onChange={(items) => autosave.edit({ [field]: items })}
        />
      )}
    </Field>
  );
  return (
    <form
      class="paper-form"
      noValidate
      onSubmit={(event) => event.preventDefault()}
      onFocusOut={() => {
        if (autosave.state.peek() === "waiting") void autosave.flush();
      }}
    >
      {readOnly && <p class="muted small">{text.readOnly}</p>}
      <Field label={text.title} error={errorOf("title")}>
        {(control) => (
          <textarea
            {...control}
            class="input input-title"
            name="title"
            rows={2}
            data-testid="paper-title"
            maxLength={LIMITS.fieldChars}
            readOnly={readOnly}
            value={draft.title}
            onInput={(event) => autosave.edit({ title: event.currentTarget.value.replaceAll("\n", " ") })}
          />
        )}
      </Field>
      {list("authors")}
      <Field label={text.abstract} error={errorOf("abstract")}>
        {(control) => (
          <textarea
            {...control}
            class="input"
            name="abstract"
            rows={5}
            data-testid="paper-abstract"
            maxLength={LIMITS.abstractChars}
            readOnly={readOnly}
            value={draft.abstract}
            onInput={(event) => autosave.edit({ abstract: event.currentTarget.value })}
          />
        )}
      </Field>
      {list("keywords")}
      {list("tags")}
      <div class="field-grid">
        {line("publication")}
        {line("publicationYear", { inputMode: "numeric", maxLength: 4 })}
        {line("event")}
        {line("pages")}
        {line("volume")}
        {line("issue")}
      </div>
      {line("doi", {
        clean: bareDoi,
        aside: <OpenLink href={doiLink(draft.doi, wrong.has("doi"))} what={text.doi} />,
      })}
      {line("url", {
        maxLength: 2_000,
        inputMode: "url",
        aside: <OpenLink href={wrong.has("url") ? "" : draft.url} what={text.url} />,
      })}
    </form>
  );
}

interface LineOptions {
  readonly inputMode?: "numeric" | "url";
  readonly maxLength?: number;
  readonly clean?: (value: string) => string;
  readonly aside?: ComponentChildren;
}

function doiLink(doi: string, wrong: boolean): string {
  return wrong || doi.trim() === "" ? "" : `https://doi.org/${encodeURI(doi.trim())}`;
}

function OpenLink({ href, what }: { readonly href: string; readonly what: string }) {
  if (href.trim() === "") return null;
  return (
    <a
      class="field-link"
      href={href}
      target="_blank"
      rel="noopener noreferrer"
      aria-label={messages.value.paper.open(what)}
    >
      <Icon node={ExternalLink} size={15} />
    </a>
  );
}

const LOOKS: Readonly<Record<AutosaveState, { icon: IconNode; text: (all: Messages) => string }>> = {
  saved: { icon: CheckCheck, text: (all) => all.common.saved },
  waiting: { icon: LoaderCircle, text: (all) => all.paper.unsavedFields },
  saving: { icon: LoaderCircle, text: (all) => all.common.saving },
  failed: { icon: TriangleAlert, text: (all) => all.paper.saveFailed },
  invalid: { icon: TriangleAlert, text: (all) => all.paper.checkFields },
};

/** Whether the fields are saved, and a way to try again when they are not. */
export function AutosaveBadge({ autosave }: { readonly autosave: Autosave }) {
  const all = messages.value;
  const state = autosave.state.value;
  const look = LOOKS[state];
  const failure = autosave.failure.value;
  return (
    <span class={`badge badge-${state}`} data-testid="paper-save" data-state={state}>
      <Icon node={look.icon} size={15} />
      <span role="status">
        {look.text(all)}
        {state === "failed" && failure !== null && `. ${all.failure[failure.code]}`}
      </span>
      {state === "failed" && (
        <button type="button" class="button-link" onClick={() => void autosave.flush()}>
          {all.common.retry}
        </button>
      )}
    </span>
  );
}
