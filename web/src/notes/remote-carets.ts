import { Annotation, RangeSet, type Extension, type Range } from "@codemirror/state";
import {
  Decoration,
  type EditorView,
  ViewPlugin,
  WidgetType,
  type DecorationSet,
  type ViewUpdate,
} from "@codemirror/view";
import type { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import type { Person } from "../ui/avatar.tsx";
import { personOf } from "./presence.ts";

/**
 * Where the others are. In place of y-codemirror's own plugin: that one derives the colour of a selection by appending
 * two digits to the person's colour, keeps an outdated name when only the name changes, and shows it on hover only.
 */

const othersMoved = Annotation.define<true>();

interface Cursor {
  readonly anchor: number;
  readonly head: number;
}

class CaretWidget extends WidgetType {
  private readonly person: Person;
  /** Changes when the person moves, so that the name shows again for a while. */
  private readonly place: string;

  constructor(person: Person, place: string) {
    super();
    this.person = person;
    this.place = place;
  }

  override eq(other: CaretWidget): boolean {
    const [a, b] = [this.person, other.person];
    return a.id === b.id && a.name === b.name && a.color === b.color && this.place === other.place;
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = "remote-caret";
    caret.dataset["testid"] = "remote-caret";
    caret.dataset["user"] = this.person.id;
    caret.setAttribute("aria-hidden", "true");
    caret.style.setProperty("--person", this.person.color);
    const name = caret.appendChild(document.createElement("span"));
    name.className = "remote-caret-name";
    name.textContent = this.person.name;
    return caret;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}

function relative(position: unknown): Y.RelativePosition | undefined {
  return typeof position === "object" && position !== null
    ? Y.createRelativePositionFromJSON(position)
    : undefined;
}

/** Both ends of a cursor in the text as it is now, or undefined for one that does not lie in it. */
function resolve(text: Y.Text, cursor: unknown): Cursor | undefined {
  if (typeof cursor !== "object" || cursor === null || !("anchor" in cursor) || !("head" in cursor))
    return undefined;
  const [anchorAt, headAt] = [relative(cursor.anchor), relative(cursor.head)];
  if (text.doc === null || anchorAt === undefined || headAt === undefined) return undefined;
  const anchor = Y.createAbsolutePositionFromRelativePosition(anchorAt, text.doc);
  const head = Y.createAbsolutePositionFromRelativePosition(headAt, text.doc);
  if (anchor?.type !== text || head?.type !== text) return undefined;
  return { anchor: anchor.index, head: head.index };
}

function decorate(person: Person, cursor: Cursor, place: string): Range<Decoration>[] {
  const [from, to] = [Math.min(cursor.anchor, cursor.head), Math.max(cursor.anchor, cursor.head)];
  const selection = Decoration.mark({
    class: "remote-selection",
    attributes: { style: `--person: ${person.color}` },
  });
  const caret = Decoration.widget({
    widget: new CaretWidget(person, place),
    side: cursor.head > cursor.anchor ? -1 : 1,
  });
  return [...(from < to ? [selection.range(from, to)] : []), caret.range(cursor.head)];
}

export function remoteCarets(text: Y.Text, awareness: Awareness): Extension {
  const own = awareness.clientID;

  class RemoteCarets {
    decorations: DecorationSet = RangeSet.empty;
    private readonly onChange: (changes: Record<"added" | "updated" | "removed", number[]>) => void;

    constructor(view: EditorView) {
      this.onChange = ({ added, updated, removed }) => {
        const others = [...added, ...updated, ...removed].some((client) => client !== own);
        if (others) view.dispatch({ annotations: othersMoved.of(true) });
      };
      awareness.on("change", this.onChange);
      this.decorations = this.decorate(view.state.doc.length);
    }

    update(update: ViewUpdate): void {
      this.publish(update);
      const moved = update.transactions.some((transaction) => transaction.annotation(othersMoved) === true);
      if (moved || update.docChanged) this.decorations = this.decorate(update.state.doc.length);
    }

    destroy(): void {
      awareness.off("change", this.onChange);
    }

    /** Tells the others where this person is, for as long as the editor has the focus. */
    private publish(update: ViewUpdate): void {
      if (awareness.getLocalState() === null || !update.view.hasFocus) return;
      const { anchor, head } = update.state.selection.main;
      const known = resolve(text, awareness.getLocalState()?.["cursor"]);
      if (known?.anchor === anchor && known.head === head) return;
      awareness.setLocalStateField("cursor", {
        anchor: Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(text, anchor)),
        head: Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(text, head)),
      });
    }

    private decorate(length: number): DecorationSet {
      const ranges = [...awareness.getStates()].flatMap(([client, state]) => {
        const person = client === own ? undefined : personOf(state);
        const cursor = resolve(text, state["cursor"]);
        const shown =
          person !== undefined && cursor !== undefined && Math.max(cursor.anchor, cursor.head) <= length;
        return shown ? decorate(person, cursor, JSON.stringify(state["cursor"])) : [];
      });
      return Decoration.set(ranges, true);
    }
  }

  return ViewPlugin.fromClass(RemoteCarets, { decorations: (plugin) => plugin.decorations });
}
