import type { CSSProperties } from "preact";
import { initials } from "./initials.ts";

export interface Person {
  readonly id: string;
  readonly name: string;
  readonly color: string;
}

/** Decoration: the name stands beside it or labels its parent. */
export function Avatar({ person, size = 32 }: { readonly person: Person; readonly size?: number }) {
  const style: CSSProperties = { "--person": person.color, "--size": `${size}px` };
  return <span class="avatar" style={style} data-initials={initials(person.name)} aria-hidden="true" />;
}
