import { defaultKeymap } from "@codemirror/commands";
import { search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { EditorView, keymap, placeholder, type KeyBinding } from "@codemirror/view";
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next";
import * as Y from "yjs";
import type { Messages } from "../i18n/messages.ts";
import { continueList, toggleInline } from "./formatting.ts";
import { markdown } from "./markdown.ts";
import type { NotesSession } from "./notes-session.ts";
import { remoteCarets } from "./remote-carets.ts";

export interface NotesEditor {
  readonly view: EditorView;
  readonly undoManager: Y.UndoManager;
  readonly setEditable: (editable: boolean) => void;
  readonly setTexts: (texts: Messages) => void;
  readonly destroy: () => void;
}

/** After the last composition event: the browser may deliver the composed text a moment later. */
const COMPOSED_MS = 100;

/** Typing with an input method is sent when a word is chosen, not letter by letter. */
function holdWhileComposing(session: NotesSession): Extension {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return EditorView.domEventHandlers({
    compositionstart: () => {
      clearTimeout(timer);
      session.hold();
    },
    compositionend: () => {
      clearTimeout(timer);
      timer = setTimeout(session.release, COMPOSED_MS);
    },
    blur: session.release,
  });
}

function editability(editable: boolean): Extension {
  return [
    EditorState.readOnly.of(!editable),
    EditorView.editable.of(editable),
    EditorView.contentAttributes.of(editable ? {} : { "aria-readonly": "true" }),
  ];
}

function texts({ notes, search: find }: Messages): Extension {
  return [
    placeholder(notes.placeholder),
    EditorView.contentAttributes.of({ "aria-label": notes.label }),
    EditorState.phrases.of({
      Find: find.find,
      Replace: find.replace,
      next: find.next,
      previous: find.previous,
      all: find.all,
      "match case": find.matchCase,
      regexp: find.regexp,
      "by word": find.byWord,
      replace: find.replaceOne,
      "replace all": find.replaceAll,
      close: find.close,
    }),
  ];
}

/** Commands do not look at `readOnly` themselves; undo would even reach past the editor, into the document. */
function whileEditable(bindings: readonly KeyBinding[]): KeyBinding[] {
  return bindings.map((binding) => ({
    ...binding,
    run: (view) => !view.state.readOnly && (binding.run?.(view) ?? false),
  }));
}

const shortcuts = whileEditable([
  { key: "Mod-b", run: toggleInline("**") },
  { key: "Mod-i", run: toggleInline("*") },
  { key: "Enter", run: continueList },
]);

/** CodeMirror on the notes' text. Every change goes to the document and comes from it; undo is for own edits only. */
export function createEditor(session: NotesSession, parent: HTMLElement): NotesEditor {
  const undoManager = new Y.UndoManager(session.text, { captureTimeout: 500 });
  const editable = new Compartment();
  const language = new Compartment();
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: session.text.toJSON(),
      extensions: [
        // The text counts "\r\n" as two characters; the editor has to count the same, or positions drift apart.
        EditorState.lineSeparator.of("\n"),
        EditorView.clipboardInputFilter.of((text) => text.replaceAll(/\r\n?/g, "\n")),
        yCollab(session.text, null, { undoManager }),
        remoteCarets(session.text, session.awareness),
        holdWhileComposing(session),
        keymap.of([...shortcuts, ...whileEditable(yUndoManagerKeymap), ...searchKeymap, ...defaultKeymap]),
        search({ top: true }),
        markdown(),
        EditorView.lineWrapping,
        // With a tabindex the text can be reached by keyboard, scrolled and copied when it cannot be edited, too.
        EditorView.contentAttributes.of({ spellcheck: "true", tabindex: "0", "data-testid": "editor" }),
        editable.of(editability(false)),
        language.of([]),
      ],
    }),
  });
  return {
    view,
    undoManager,
    setEditable: (allowed) => view.dispatch({ effects: editable.reconfigure(editability(allowed)) }),
    setTexts: (all) => view.dispatch({ effects: language.reconfigure(texts(all)) }),
    destroy: () => {
      view.destroy();
      undoManager.destroy();
    },
  };
}
