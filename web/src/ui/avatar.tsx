import type { CSSProperties } from "preact";

/** The first letters of two words, or the first character of one: "AL" for Ada Lovelace, "李" for 李雷. */
export function initials(name: string): string {
  const words = name.trim().split(/[\s_-]+/u);
  const first = [...(words[0] ?? "")][0] ?? "?";
  const second = words.length > 1 ? ([...(words.at(-1) ?? "")][0] ?? "") : "";
  return `${first}${second}`.toLocaleUpperCase();
}

export interface Person {
  readonly id: string;
  readonly name: string;
  readonly color: string;
}

/** Decoration: the name stands beside it or labels its parent. */
export function Avatar({ person, size = 32 }: { readonly person: Person; readonly size?: number }) {
  const style: CSSProperties = { "--person": person.color, "--size": `${size}px` };
  return (
    <span class="avatar" style={style} aria-hidden="true">
      {initials(person.name)}
    </span>
  );
}
