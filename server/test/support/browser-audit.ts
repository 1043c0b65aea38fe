import axe from "axe-core";
import assert from "node:assert/strict";
import type { Page } from "playwright-core";

/** What a machine can say about a screen: accessibility, and whether it fits a narrow window. */

const STANDARDS = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"];
const NARROW = { width: 360, height: 740 };

interface Violation {
  readonly rule: string;
  readonly where: string;
  readonly why: string;
}

const RUN = `axe.run(document, { runOnly: ${JSON.stringify(STANDARDS)}, resultTypes: ["violations"] }).then((results) =>
  results.violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => ({ rule: id, where: node.target.join(" "), why: node.failureSummary }))))`;

/** Throws with every violation; `screen` names what is on the screen. */
export async function assertAccessible(page: Page, screen: string): Promise<void> {
  if (!(await page.evaluate<boolean>("'axe' in window"))) await page.evaluate(axe.source);
  const violations = await page.evaluate<Violation[]>(RUN);
  assert.deepEqual(violations, [], `${screen} has accessibility violations`);
}

/** What reaches out of the window, unless something around it scrolls or cuts it off on purpose. */
const OVERFLOW = `(() => {
  const wide = document.documentElement.scrollWidth;
  const held = (element) => {
    for (let at = element.parentElement; at !== null && at !== document.body; at = at.parentElement)
      if (getComputedStyle(at).overflowX !== "visible") return true;
    return false;
  };
  const out = [...document.querySelectorAll("a, button, input, select, textarea, h1, h2, h3, p, li, .badge, .cm-content")]
    .filter((element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
    .filter((element) => {
      const { left, right, width } = element.getBoundingClientRect();
      return width > 1 && (left < -1 || right > innerWidth + 1) && !held(element);
    })
    .map((element) => element.outerHTML.slice(0, 120));
  return { wide: wide > innerWidth ? wide : 0, out };
})()`;

/** Shows the screen in a window as narrow as a phone: nothing may hang over its edges. */
export async function assertFitsNarrow(page: Page, screen: string): Promise<void> {
  const before = page.viewportSize();
  await page.setViewportSize(NARROW);
  const overflow = await page.evaluate<{ wide: number; out: string[] }>(OVERFLOW);
  if (before !== null) await page.setViewportSize(before);
  assert.deepEqual(overflow, { wide: 0, out: [] }, `${screen} is wider than ${NARROW.width} px`);
}
