import assert from "node:assert/strict";
import * as Y from "yjs";
import { until, type Site } from "./site.ts";
import type { Typist } from "./typists.ts";

/** What a stored document lacks or has too much of, by the books of those who typed into it. */
export interface Audit {
  /** Words whose acknowledgement had come. */
  readonly acknowledged: number;
  /** Acknowledged, never taken out, and not there. */
  readonly lost: string[];
  /** There more than once. */
  readonly doubled: string[];
  /** Text that nobody typed. */
  readonly strange: string[];
}

export function audit(stored: Y.Doc, typists: readonly Typist[]): Audit {
  const text = stored.getText("md").toJSON();
  const times = new Map<string, number>();
  for (const word of text.match(/<[^<>]*>|[^<>]+|[<>]/gu) ?? []) times.set(word, (times.get(word) ?? 0) + 1);
  const typed = new Set(typists.flatMap(({ words }) => words.map((word) => word.text)));
  const acknowledged = typists.flatMap((typist) => typist.acknowledgedWords());
  const lost = acknowledged.filter((word) => !word.removed && !times.has(word.text)).map((word) => word.text);
  return {
    acknowledged: acknowledged.length,
    lost,
    doubled: [...times].filter(([, count]) => count > 1).map(([word]) => word),
    strange: [...times.keys()].filter((word) => !typed.has(word)),
  };
}

/** Every promised update is in the stored document, what it inserted and what it deleted; nothing is doubled. */
export function assertKept(stored: Y.Doc, typists: readonly Typist[]): Audit {
  const found = audit(stored, typists);
  const { lost, doubled, strange } = found;
  assert.deepEqual({ lost, doubled, strange }, { lost: [], doubled: [], strange: [] });
  assert.equal(
    missingUpdates(
      stored,
      typists.map((typist) => typist.promisedSum()),
    ),
    0,
    "acknowledged updates that the store does not hold",
  );
  return found;
}

/** How many of the updates the document does not hold: applying them again would change it. */
export function missingUpdates(stored: Y.Doc, updates: readonly Uint8Array[]): number {
  const copy = new Y.Doc();
  Y.applyUpdate(copy, Y.encodeStateAsUpdate(stored));
  let missing = 0;
  copy.on("update", () => {
    missing += 1;
  });
  for (const update of updates) Y.applyUpdate(copy, update);
  if (copy.store.pendingStructs !== null || copy.store.pendingDs !== null) missing += 1;
  copy.destroy();
  return missing;
}

export function sameContent(a: Y.Doc, b: Y.Doc): boolean {
  return (
    a.getText("md").toJSON() === b.getText("md").toJSON() && Y.equalSnapshots(Y.snapshot(a), Y.snapshot(b))
  );
}

/** Waits until every replica of each document is what the server has. */
export async function allEqual(site: Pick<Site, "read">, typists: readonly Typist[]): Promise<void> {
  await until(
    () => typists.every(({ settled }) => settled),
    () => `everybody is settled: ${describe(typists)}`,
  );
  for (const [name, group] of Map.groupBy(typists, ({ document }) => document)) {
    await until(
      async () => {
        const [first, ...others] = group;
        // First among themselves, which is cheap to ask.
        if (first === undefined || !others.every(({ doc }) => sameContent(doc, first.doc))) return false;
        return sameContent(first.doc, await site.read(name));
      },
      () => `all replicas of ${name} are equal: ${describe(group)}`,
    );
  }
}

/**
 * Nobody types any more, and all become equal; then nothing may be lost or doubled anywhere, of what those have typed either
 * who are gone.
 */
export async function converge(
  site: Pick<Site, "read">,
  typists: readonly Typist[],
  gone: readonly Typist[] = [],
): Promise<void> {
  for (const typist of typists) typist.stopTyping();
  await allEqual(site, typists);
  for (const [name, group] of Map.groupBy(typists, ({ document }) => document)) {
    const stored = await site.read(name);
    assertKept(stored, [...group, ...gone.filter(({ document }) => document === name)]);
    assertComplete(stored, group);
  }
}

/** Every word that was typed and not taken out is there: acknowledged or not, its author was there to bring it again. */
function assertComplete(stored: Y.Doc, typists: readonly Typist[]): void {
  const text = stored.getText("md").toJSON();
  const wrong = typists.flatMap(({ words }) =>
    words.filter((word) => text.includes(word.text) === word.removed),
  );
  assert.deepEqual(
    wrong.map((word) => word.text),
    [],
  );
}

function describe(typists: readonly Typist[]): string {
  return typists
    .map(
      ({ name, connected, settled, closes, text }) =>
        `${name} ${connected ? "connected" : "away"} ${settled ? "settled" : "unsettled"} ${text.length} chars, closes ${closes.slice(-5).join()}`,
    )
    .join("; ");
}
