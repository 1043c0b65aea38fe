import { computed, signal } from "@preact/signals";
import type { TokenPair, User } from "@scriptorium/shared";
import { ApiFailure, send } from "../api/http.ts";
import { wipeLocalData } from "./local-data.ts";

/** Who is signed in here. Shared by all tabs through localStorage; one tab at a time renews it. */
export interface Session {
  readonly user: User;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Unix milliseconds by this machine's clock. */
  readonly expiresAtMs: number;
}

const KEY = "scriptorium.session";
const LOCK = "scriptorium.refresh";
/** An access token this close to its end is renewed before it is used; a little before the server asks for another. */
const RENEW_BEFORE_MS = 75_000;

function stored(): Session | null {
  const text = localStorage.getItem(KEY);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by this client alone
  return text === null ? null : (JSON.parse(text) as Session);
}

const current = signal<Session | null>(null);
export const session = computed(() => current.value);
/** The person, or null when nobody is signed in. Changes only when the person does, not when tokens are renewed. */
export const user = computed(() => current.value?.user ?? null);

function keep(next: Session | null): void {
  if (next === null) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, JSON.stringify(next));
  adopt(next);
}

function adopt(next: Session | null): void {
  const before = current.peek()?.user;
  const sameUser = before !== undefined && JSON.stringify(before) === JSON.stringify(next?.user);
  current.value = next !== null && sameUser ? { ...next, user: before } : next;
}

/** Reads the kept session and follows what other tabs do with it; returns the stop. */
export function startSession(): () => void {
  adopt(stored());
  const onStorage = (event: StorageEvent) => {
    if (event.key === KEY || event.key === null) adopt(stored());
  };
  addEventListener("storage", onStorage);
  return () => removeEventListener("storage", onStorage);
}

export function signInWith(pair: TokenPair): void {
  const { expiresIn, ...rest } = pair;
  keep({ ...rest, expiresAtMs: Date.now() + expiresIn * 1000 });
}

export function updateUser(who: User): void {
  const now = stored();
  if (now !== null) keep({ ...now, user: who });
}

/** The session ended on the server's side: local copies stay, so that unsent work survives until the next sign-in. */
function endSession(): void {
  keep(null);
}

/** Web Locks exist on https and localhost only; elsewhere the server's grace for the old refresh token has to do. */
async function oneTabAtATime<Result>(work: () => Promise<Result>): Promise<Result> {
  return "locks" in navigator ? await navigator.locks.request(LOCK, work) : await work();
}

let renewal: Promise<Session> | undefined;

/** A session whose access token is not `stale`; asks the server only when no other tab has done so meanwhile. */
function renew(stale: Session): Promise<Session> {
  renewal ??= oneTabAtATime(() => renewNow(stale)).finally(() => {
    renewal = undefined;
  });
  return renewal;
}

/** What is kept by now, when it is still this person's; shown in any case. Another may have signed in in another tab. */
function keptFor(who: User): Session {
  const now = stored();
  adopt(now);
  if (now?.user.id !== who.id) throw new ApiFailure("unauthenticated");
  return now;
}

async function renewNow(stale: Session): Promise<Session> {
  const { accessToken: token, refreshToken } = keptFor(stale.user);
  if (token !== stale.accessToken) return keptFor(stale.user);
  try {
    const pair = await send<TokenPair>({ method: "POST", path: "/auth/refresh", body: { refreshToken } });
    // Nobody may be brought back who has signed out while the server was asked.
    if (keptFor(stale.user).refreshToken === refreshToken) signInWith(pair);
  } catch (error) {
    const refused = error instanceof ApiFailure && error.signedOut;
    if (refused && stored()?.refreshToken === refreshToken) endSession();
    throw error;
  }
  return keptFor(stale.user);
}

/** A token that is good for at least a minute. `refused`: one that the server has just turned down. */
export async function accessToken(refused?: string): Promise<string> {
  const now = current.peek();
  if (now === null) throw new ApiFailure("unauthenticated");
  const fresh = now.accessToken !== refused && now.expiresAtMs - Date.now() > RENEW_BEFORE_MS;
  return fresh ? now.accessToken : (await renew(now)).accessToken;
}

/** Ends the session here and on the server, and deletes this person's data from this device. */
export async function logOut(): Promise<void> {
  const now = current.peek();
  if (now === null) return;
  await endOnServer().catch((error: unknown) => {
    // Offline, or ended already: the tokens are forgotten here all the same.
    if (!(error instanceof ApiFailure)) throw error;
  });
  keep(null);
  await wipeLocalData(now.user.id);
}

async function endOnServer(): Promise<void> {
  await send<undefined>({
    method: "POST",
    path: "/auth/logout",
    token: await accessToken(),
    keepalive: true,
  });
}
