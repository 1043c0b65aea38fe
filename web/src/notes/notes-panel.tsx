import { effect, useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { Bold, Code, Heading2, Italic, Link, List, ListOrdered, ListTodo, Quote, Redo2, Undo2 } from "lucide";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { StateCommand } from "@codemirror/state";
import type { User } from "@scriptorium/shared";
import { messages } from "../i18n/messages.ts";
import { Avatar, type Person } from "../ui/avatar.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Icon, type IconNode } from "../ui/icon.tsx";
import { Skeleton } from "../ui/states.tsx";
import { say } from "../ui/toast.tsx";
import { createEditor, type NotesEditor } from "./editor.ts";
import { insertLink, toggleInline, toggleLines } from "./formatting.ts";
import { openNotes, type LostText, type NotesSession } from "./notes-session.ts";
import { SaveBadge } from "./save-badge.tsx";

export interface NotesPanelProps {
  readonly user: User;
  readonly paperId: string;
  /** This person's role has changed while the notes were open: whatever else depends on it is out of date. */
  readonly onRoleChange: () => void;
}

function collabUrl(): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/collab`;
}

/** The notes of a paper: opened anew whenever their local copy has to be given up. */
export function NotesPanel({ user, paperId, onRoleChange }: NotesPanelProps) {
  const turn = useSignal(0);
  const lost = useSignal<LostText | null>(null);
  return (
    <>
      <OpenNotes
        key={`${user.id}/${paperId}/${turn.value}`}
        user={user}
        paperId={paperId}
        onRoleChange={onRoleChange}
        onStartOver={(text) => {
          lost.value = text ?? lost.value;
          turn.value += 1;
        }}
      />
      {lost.value !== null && (
        <LostTextDialog
          lost={lost.value}
          onClose={() => {
            lost.value = null;
          }}
        />
      )}
    </>
  );
}

/** Calls back when writing becomes allowed or forbidden by role, not for what was so from the start. */
function followRole(session: NotesSession, onChange: () => void): () => void {
  let before: boolean | undefined;
  return effect(() => {
    const state = session.save.value;
    if (state.kind !== "saved" && state.kind !== "readonly") return;
    const byRole = state.kind === "readonly" && state.reason === "role";
    if (before !== undefined && before !== byRole) onChange();
    before = byRole;
  });
}

interface OpenNotesProps extends NotesPanelProps {
  readonly onStartOver: (lost: LostText | null) => void;
}

function OpenNotes({ user, paperId, onStartOver, onRoleChange }: OpenNotesProps) {
  const session = useMemo(() => openNotes({ user, paperId, url: collabUrl(), onStartOver }), []);
  useEffect(() => session.stop, []);
  useEffect(() => followRole(session, onRoleChange), []);
  const text = messages.value;
  const editor = useSignal<NotesEditor | null>(null);
  const state = session.save.value;
  const stranded =
    state.kind === "readonly" && state.unsaved > 0 && state.reason !== "store" && state.reason !== "draining";
  return (
    <section class="notes" aria-label={text.paper.notes}>
      <header class="notes-bar">
        <FormattingBar editor={editor.value} enabled={session.editable.value} />
        <SaveBadge state={state} />
        <People people={session.people.value} own={user.id} />
      </header>
      {stranded && <Stranded session={session} edits={state.unsaved} />}
      {session.readable.value ? (
        <EditorHost
          session={session}
          onReady={(ready) => {
            editor.value = ready;
          }}
        />
      ) : (
        <div class="notes-loading" data-testid="notes-loading">
          <Skeleton lines={7} label={text.notes.loading} />
          {state.kind !== "connecting" && <p class="muted">{text.notes.noCopy}</p>}
        </div>
      )}
    </section>
  );
}

interface EditorHostProps {
  readonly session: NotesSession;
  readonly onReady: (editor: NotesEditor | null) => void;
}

function EditorHost({ session, onReady }: EditorHostProps) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useSignal<NotesEditor | null>(null);
  useEffect(() => {
    if (host.current === null) return undefined;
    const made = createEditor(session, host.current);
    editor.value = made;
    onReady(made);
    return () => {
      editor.value = null;
      onReady(null);
      made.destroy();
    };
  }, []);
  useSignalEffect(() => editor.value?.setEditable(session.editable.value));
  useSignalEffect(() => editor.value?.setTexts(messages.value));
  return <div class="editor" ref={host} />;
}

const PEOPLE_SHOWN = 5;

function People({ people, own }: { readonly people: readonly Person[]; readonly own: string }) {
  const text = messages.value.notes;
  const nameOf = (person: Person) => (person.id === own ? text.you(person.name) : person.name);
  const hidden = people.length - PEOPLE_SHOWN;
  return (
    <ul class="people" aria-label={text.here(people.map(nameOf).join(", "))}>
      {people.slice(0, PEOPLE_SHOWN).map((person) => (
        <li
          key={person.id}
          data-testid="presence"
          data-user={person.id}
          data-name={person.name}
          title={nameOf(person)}
        >
          <Avatar person={person} size={28} />
          <span class="visually-hidden">{nameOf(person)}</span>
        </li>
      ))}
      {hidden > 0 && (
        <li class="people-more" title={people.slice(PEOPLE_SHOWN).map(nameOf).join(", ")}>
          +{hidden}
        </li>
      )}
    </ul>
  );
}

type FormatKey = "heading" | "bold" | "italic" | "code" | "bullets" | "numbers" | "tasks" | "quote" | "link";

const FORMATS: readonly { readonly key: FormatKey; readonly icon: IconNode; readonly run: StateCommand }[] = [
  { key: "heading", icon: Heading2, run: toggleLines(() => "## ") },
  { key: "bold", icon: Bold, run: toggleInline("**") },
  { key: "italic", icon: Italic, run: toggleInline("*") },
  { key: "code", icon: Code, run: toggleInline("`") },
  { key: "bullets", icon: List, run: toggleLines(() => "- ") },
  { key: "numbers", icon: ListOrdered, run: toggleLines((index) => `${index + 1}. `) },
  { key: "tasks", icon: ListTodo, run: toggleLines(() => "- [ ] ") },
  { key: "quote", icon: Quote, run: toggleLines(() => "> ") },
  { key: "link", icon: Link, run: insertLink },
];

function FormattingBar({
  editor,
  enabled,
}: {
  readonly editor: NotesEditor | null;
  readonly enabled: boolean;
}) {
  const text = messages.value.notes;
  const off = editor === null || !enabled;
  const act = (run: (on: NotesEditor) => unknown) => () => {
    if (editor === null || !enabled) return;
    run(editor);
    editor.view.focus();
  };
  return (
    <div class="format-bar" role="group" aria-label={text.formatting}>
      {FORMATS.map((format) => (
        <button
          key={format.key}
          type="button"
          class="button-icon"
          title={text[format.key]}
          aria-label={text[format.key]}
          disabled={off}
          onClick={act((on) => format.run(on.view))}
        >
          <Icon node={format.icon} size={17} />
        </button>
      ))}
      <span class="format-gap" />
      <button
        type="button"
        class="button-icon"
        title={text.undo}
        aria-label={text.undo}
        disabled={off}
        onClick={act((on) => on.undoManager.undo())}
      >
        <Icon node={Undo2} size={17} />
      </button>
      <button
        type="button"
        class="button-icon"
        title={text.redo}
        aria-label={text.redo}
        disabled={off}
        onClick={act((on) => on.undoManager.redo())}
      >
        <Icon node={Redo2} size={17} />
      </button>
    </div>
  );
}

async function copyText(text: string): Promise<void> {
  await navigator.clipboard.writeText(text);
  say(messages.peek().common.copied);
}

/** Edits that the server will not take from this person: they can be kept by hand, or given up. */
function Stranded({ session, edits }: { readonly session: NotesSession; readonly edits: number }) {
  const text = messages.value;
  const discardable = useComputed(() => session.save.value.kind === "readonly");
  return (
    <div class="stranded" role="alert" data-testid="stranded">
      <div>
        <strong>{text.unsent.title(edits)}</strong>
        <p>{text.unsent.body}</p>
      </div>
      <div class="stranded-actions">
        <CopyButton text={() => session.text.toJSON()} />
        {discardable.value && (
          <button
            type="button"
            class="button button-quiet"
            data-testid="discard"
            onClick={() => void session.discard()}
          >
            {text.unsent.discard}
          </button>
        )}
      </div>
    </div>
  );
}

/** The Clipboard API is for https and localhost only; elsewhere the text can be selected where it stands. */
function CopyButton({ text }: { readonly text: () => string }) {
  if (!("clipboard" in navigator)) return null;
  return (
    <button type="button" class="button" data-testid="copy-unsent" onClick={() => void copyText(text())}>
      {messages.value.common.copy}
    </button>
  );
}

function LostTextDialog({ lost, onClose }: { readonly lost: LostText; readonly onClose: () => void }) {
  const text = messages.value.unsent;
  return (
    <Dialog title={text.resetTitle} onClose={onClose} testId="lost-text">
      <div class="stack">
        <p class="muted">{text.resetBody}</p>
        <textarea class="input" rows={10} readOnly aria-label={text.text} value={lost.text} />
        <footer class="dialog-foot">
          <CopyButton text={() => lost.text} />
          <button type="button" class="button button-primary" onClick={onClose}>
            {text.done}
          </button>
        </footer>
      </div>
    </Dialog>
  );
}
