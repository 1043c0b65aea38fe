import { computed, signal } from "@preact/signals";

/** The places of the client, and nothing else: an unknown path is `lost`. */
export type Route =
  | { readonly at: "sign-in" }
  | { readonly at: "register" }
  | { readonly at: "projects" }
  | { readonly at: "project"; readonly projectId: string }
  | { readonly at: "paper"; readonly paperId: string }
  | { readonly at: "account" }
  | { readonly at: "lost" };

const ID = "([0-9A-HJKMNP-TV-Z]{26})";
const PROJECT = new RegExp(`^/projects/${ID}$`);
const PAPER = new RegExp(`^/papers/${ID}$`);

const FIXED: Readonly<Record<string, Route>> = {
  "/": { at: "projects" },
  "/sign-in": { at: "sign-in" },
  "/register": { at: "register" },
  "/account": { at: "account" },
};

export function parsePath(pathname: string): Route {
  const fixed = Object.hasOwn(FIXED, pathname) ? FIXED[pathname] : undefined;
  if (fixed !== undefined) return fixed;
  const projectId = PROJECT.exec(pathname)?.[1];
  if (projectId !== undefined) return { at: "project", projectId };
  const paperId = PAPER.exec(pathname)?.[1];
  if (paperId !== undefined) return { at: "paper", paperId };
  return { at: "lost" };
}

export const paths = {
  projects: "/",
  signIn: "/sign-in",
  register: "/register",
  account: "/account",
  project: (id: string) => `/projects/${id}`,
  paper: (id: string) => `/papers/${id}`,
} as const;

const pathname = signal("/");
export const route = computed(() => parsePath(pathname.value));

export function navigate(to: string, options: { readonly replace?: boolean } = {}): void {
  if (options.replace === true) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  pathname.value = location.pathname;
  scrollTo(0, 0);
  // Keyboard and screen reader go on where the new screen begins, not at the link that is gone.
  requestAnimationFrame(() =>
    document.querySelector<HTMLElement>("#content")?.focus({ preventScroll: true }),
  );
}

/** A plain press of the main button, not a wish for a new tab or window. */
function isPlainPress(event: MouseEvent): boolean {
  const modified = event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
  return event.button === 0 && !event.defaultPrevented && !modified;
}

/** The path of a link that stays inside the client, if that is what was pressed. */
function internalLink(event: MouseEvent): string | undefined {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (link === null || link.target !== "" || link.origin !== location.origin) return undefined;
  if (link.hash !== "" || parsePath(link.pathname).at === "lost") return undefined;
  return link.pathname;
}

/** Follows the address bar and plain links; returns the stop. */
export function startRouter(): () => void {
  const onPop = () => {
    pathname.value = location.pathname;
  };
  const onClick = (event: MouseEvent) => {
    const to = isPlainPress(event) ? internalLink(event) : undefined;
    if (to === undefined) return;
    event.preventDefault();
    if (to !== location.pathname) navigate(to);
  };
  onPop();
  addEventListener("popstate", onPop);
  document.addEventListener("click", onClick);
  return () => {
    removeEventListener("popstate", onPop);
    document.removeEventListener("click", onClick);
  };
}
