import assert from "node:assert/strict";
import type { Person } from "@scriptorium/server/testing";
import type { Page } from "playwright-core";
import { until } from "./browser.ts";

/** The notes of a paper as a person sees them. */

export interface Badge {
  readonly state: string;
  readonly unsaved: number;
  readonly reason: string | null;
  readonly says: string;
}

// What runs in the page is text: these files are typed without the DOM.

const TEXT = `(() => {
  const copy = document.querySelector("[data-testid=editor]").cloneNode(true);
  for (const other of copy.querySelectorAll(".remote-caret, .cm-placeholder")) other.remove();
  return [...copy.querySelectorAll(".cm-line")].map((line) => line.textContent).join("\\n");
})()`;

/** Keeps every state that the badge shows, however short, and what stood in the editor when it last turned to saved. */
const RECORD = `(() => {
  const record = { states: [], saved: undefined };
  window.badgeRecord = record;
  const note = () => {
    const badge = document.querySelector("[data-testid=save-badge]");
    if (badge === null) return;
    const { state, unsaved } = badge.dataset;
    const last = record.states.at(-1);
    if (last?.state === state && last.unsaved === Number(unsaved)) return;
    record.states.push({ state, unsaved: Number(unsaved) });
    if (state === "saved") record.saved = ${TEXT};
  };
  note();
  const watched = { subtree: true, childList: true, attributeFilter: ["data-state", "data-unsaved"] };
  new MutationObserver(note).observe(document.querySelector(".notes-bar"), watched);
})()`;

interface BadgeRecord {
  readonly states: readonly { readonly state: string; readonly unsaved: number }[];
  readonly saved?: string;
}

export const editorOf = (page: Page) => page.getByTestId("editor");

/** What stands in the editor, without carets. Short texts only: the editor renders what is near the window. */
export async function textOf(page: Page): Promise<string> {
  await editorOf(page).waitFor();
  return await page.evaluate<string>(TEXT);
}

export async function badgeOf(page: Page): Promise<Badge> {
  const badge = page.getByTestId("save-badge");
  return {
    state: (await badge.getAttribute("data-state")) ?? "",
    unsaved: Number(await badge.getAttribute("data-unsaved")),
    reason: await badge.getAttribute("data-reason"),
    says: (await badge.locator(".badge-text").textContent()) ?? "",
  };
}

export async function untilBadge(page: Page, state: string): Promise<Badge> {
  return await until(async () => {
    const badge = await badgeOf(page);
    assert.equal(badge.state, state, `the badge says ${JSON.stringify(badge)}`);
    return badge;
  });
}

/** From here on nothing that the badge says is missed; the answer reads the record. */
export async function recordBadge(page: Page): Promise<() => Promise<BadgeRecord>> {
  await page.evaluate(RECORD);
  return async () => await page.evaluate<BadgeRecord>("window.badgeRecord");
}

export interface Caret {
  readonly name: string;
  /** The line as far as the caret. */
  readonly behind: string;
}

const CARETS = `[...document.querySelectorAll("[data-testid=remote-caret]")].map((caret) => {
  const range = document.createRange();
  range.setStartBefore(caret.closest(".cm-line").firstChild);
  range.setEndBefore(caret);
  const part = range.cloneContents();
  for (const other of part.querySelectorAll(".remote-caret")) other.remove();
  return { name: caret.textContent, behind: part.textContent };
})`;

/** Where this person sees the others write. */
export async function caretsOf(page: Page): Promise<Caret[]> {
  return await page.evaluate<Caret[]>(CARETS);
}

const PEOPLE = `[...document.querySelectorAll("[data-testid=presence]")].map((one) => one.dataset.name).sort()`;

/** Who is here, as the avatars say. */
export async function peopleOf(page: Page): Promise<string[]> {
  return await page.evaluate<string[]>(PEOPLE);
}

/** Puts the caret behind the last character. */
export async function toEnd(page: Page): Promise<void> {
  await editorOf(page).focus();
  await page.keyboard.press("Control+End");
}

/** Waits until everybody's editor shows what the server has, and answers that. */
export async function untilEqual(
  pages: readonly Page[],
  { notes, asking }: { readonly notes: string; readonly asking: Person },
): Promise<string> {
  return await until(async () => {
    const onServer = await asking.markdown(notes);
    for (const page of pages) assert.equal(await textOf(page), onServer);
    return onServer;
  });
}
