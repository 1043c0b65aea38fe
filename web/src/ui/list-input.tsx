import { useSignal } from "@preact/signals";
import { X } from "lucide";
import { messages } from "../i18n/messages.ts";
import { LIMITS } from "../limits.ts";
import { addItems } from "../paper/paper-draft.ts";
import type { FieldControl } from "./field.tsx";
import { Icon } from "./icon.tsx";

interface ListInputProps {
  readonly control: FieldControl;
  readonly name: string;
  readonly items: readonly string[];
  /** What ends an item while typing and splits a pasted text; for people's names a comma belongs to the name. */
  readonly separators: RegExp;
  readonly readOnly: boolean;
  readonly onChange: (items: readonly string[]) => void;
}

/** Several short texts in one field: Enter adds one, Backspace in the empty input takes back the last. */
export function ListInput({ control, name, items, separators, readOnly, onChange }: ListInputProps) {
  const typed = useSignal("");
  const commit = () => {
    if (typed.value.trim() !== "") onChange(addItems(items, typed.value, separators));
    typed.value = "";
  };
  return (
    <div class="input list-input">
      {items.map((item) => (
        <span class="chip" key={item}>
          {item}
          {!readOnly && (
            <button
              type="button"
              aria-label={messages.value.common.remove(item)}
              onClick={() => onChange(items.filter((known) => known !== item))}
            >
              <Icon node={X} size={13} />
            </button>
          )}
        </span>
      ))}
      <input
        {...control}
        name={name}
        data-testid={`paper-${name}`}
        placeholder={readOnly || items.length > 0 ? undefined : messages.value.paper.listHint}
        readOnly={readOnly}
        value={typed}
        onInput={(event) => {
          typed.value = event.currentTarget.value;
          if (separators.test(typed.value)) commit();
        }}
        onKeyDown={(event) => {
          if (event.isComposing) return;
          if (event.key === "Enter") {
            event.preventDefault();
            commit();
          }
          if (event.key === "Backspace" && typed.value === "" && !readOnly) onChange(items.slice(0, -1));
        }}
        onBlur={commit}
        disabled={items.length >= LIMITS.listItems}
      />
    </div>
  );
}
