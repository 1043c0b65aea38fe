import { EditorSelection, type ChangeSpec, type Line, type StateCommand } from "@codemirror/state";
import type { EditorState } from "@codemirror/state";

/** Commands of the formatting bar. Each undoes itself when it is called on text that has the format already. */

/** Puts `mark` around each selection, or takes it away. */
export function toggleInline(mark: string): StateCommand {
  return ({ state, dispatch }) => {
    const size = mark.length;
    const spec = state.changeByRange((range) => {
      const before = state.sliceDoc(range.from - size, range.from);
      const after = state.sliceDoc(range.to, range.to + size);
      if (before === mark && after === mark) {
        return {
          changes: [
            { from: range.from - size, to: range.from },
            { from: range.to, to: range.to + size },
          ],
          range: EditorSelection.range(range.from - size, range.to - size),
        };
      }
      return {
        changes: [
          { from: range.from, insert: mark },
          { from: range.to, insert: mark },
        ],
        range: EditorSelection.range(range.from + size, range.to + size),
      };
    });
    dispatch(state.update(spec, { userEvent: "input.format", scrollIntoView: true }));
    return true;
  };
}

function selectedLines(state: EditorState): Line[] {
  const { from, to } = state.selection.main;
  const first = state.doc.lineAt(from).number;
  const last = state.doc.lineAt(to).number;
  return Array.from({ length: last - first + 1 }, (_, index) => state.doc.line(first + index));
}

const LINE_MARK = /^(?:#{1,6} |> |- \[[ xX]\] |[-*+] |\d+\. )/;

/** Starts the selected lines with a mark such as "## " or "- "; a number sign counts up. Other line marks give way. */
export function toggleLines(mark: (index: number) => string): StateCommand {
  return ({ state, dispatch }) => {
    const lines = selectedLines(state);
    const marked = lines.every((line, index) => line.text.startsWith(mark(index)));
    const changes: ChangeSpec[] = lines.map((line, index) => {
      const old = LINE_MARK.exec(line.text)?.[0].length ?? 0;
      return { from: line.from, to: line.from + old, insert: marked ? "" : mark(index) };
    });
    dispatch(state.update({ changes, userEvent: "input.format", scrollIntoView: true }));
    return true;
  };
}

const URL_PLACE = "https://";

/** Makes the selection the text of a link and selects the place of its address. */
export const insertLink: StateCommand = ({ state, dispatch }) => {
  const { from, to } = state.selection.main;
  const label = state.sliceDoc(from, to);
  const at = from + label.length + 3;
  dispatch(
    state.update({
      changes: { from, to, insert: `[${label}](${URL_PLACE})` },
      selection: EditorSelection.range(at, at + URL_PLACE.length),
      userEvent: "input.format",
      scrollIntoView: true,
    }),
  );
  return true;
};

const LIST_ITEM = /^(\s*)([-*+]|(\d+)\.)( \[[ xX]\])? (.*)$/;

/** Enter in a list item begins the next one; in an empty item it ends the list. False elsewhere. */
export const continueList: StateCommand = ({ state, dispatch }) => {
  const { main } = state.selection;
  const line = state.doc.lineAt(main.head);
  const item = LIST_ITEM.exec(line.text);
  if (item === null || !main.empty || main.head < line.to) return false;
  const [, indent = "", bullet = "-", number, task, content = ""] = item;
  if (content === "") {
    dispatch(state.update({ changes: { from: line.from, to: line.to }, userEvent: "delete" }));
    return true;
  }
  const next = number === undefined ? bullet : `${Number(number) + 1}.`;
  const insert = `\n${indent}${next}${task === undefined ? "" : " [ ]"} `;
  dispatch(
    state.update({
      changes: { from: main.head, insert },
      selection: EditorSelection.cursor(main.head + insert.length),
      userEvent: "input",
      scrollIntoView: true,
    }),
  );
  return true;
};
