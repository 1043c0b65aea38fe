import { h } from "preact";

export type IconNode = readonly (readonly [tag: string, attributes: object])[];

/** A lucide icon. Decoration only: what it means stands in text or in the label of its button. */
export function Icon({ node, size = 18 }: { readonly node: IconNode; readonly size?: number }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width={size} height={size} aria-hidden="true">
      {node.map(([tag, attributes]) => h(tag, attributes))}
    </svg>
  );
}
