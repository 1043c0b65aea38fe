import { signal } from "@preact/signals";

const SHOWN_MS = 4_000;
const toast = signal<string | null>(null);
let timer: ReturnType<typeof setTimeout> | undefined;

/** Says something in passing, to eyes and screen readers alike. */
export function say(text: string): void {
  clearTimeout(timer);
  toast.value = text;
  timer = setTimeout(() => {
    toast.value = null;
  }, SHOWN_MS);
}

export function Toasts() {
  return (
    <div class="toasts" role="status">
      {toast.value !== null && <p class="toast">{toast.value}</p>}
    </div>
  );
}
