/** Lines of script and a caret: the same drawing as public/favicon.svg. */
export function Logo({ size = 28 }: { readonly size?: number }) {
  return (
    <svg class="logo" viewBox="0 0 32 32" width={size} height={size} aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="var(--brand)" />
      <path d="M8 10.5h9M8 16h12M8 21.5h7" stroke="#fff" stroke-width="2.4" stroke-linecap="round" />
      <path class="logo-caret" d="M24 7.5v11" stroke="#ff8a5c" stroke-width="2.6" stroke-linecap="round" />
    </svg>
  );
}
