import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type * as Y from "yjs";
import { allEqual, sameContent } from "./support/audit.ts";
import { seeded, type Random } from "./support/random.ts";
import { openSite, until } from "./support/site.ts";
import { openCrowd, type Typist } from "./support/typists.ts";

/** Seeds that found something once, and one that nobody has seen. */
const SEEDS = [1, 20_260_401, randomInt(2 ** 31)];
const EDITS = 120;
const EDIT_MS = 25;
const CUTS = 10;

/** Anything, anywhere: into the middle of other people's words, over what they are deleting, at both ends. */
function edit(doc: Y.Doc, random: Random): void {
  const text = doc.getText("md");
  const at = random.below(text.length + 1);
  if (random.chance(0.3)) text.delete(at, random.below(Math.min(12, text.length - at) + 1));
  else if (random.chance(0.15)) doc.getMap("meta").set(`key${random.below(4)}`, random.below(1_000));
  else text.insert(at, ["a", "word ", "论文", "🧪", "\n", "x".repeat(40)][random.below(6)] ?? "");
}

async function edits(typist: Typist, random: Random): Promise<void> {
  for (let i = 0; i < EDITS; i += 1) {
    typist.doc.transact(() => {
      for (let j = random.below(3); j >= 0; j -= 1) edit(typist.doc, random);
    });
    await delay(random.below(2 * EDIT_MS));
  }
}

async function run(t: TestContext, seed: number): Promise<void> {
  const random = seeded(seed);
  const site = await openSite(t);
  const project = await site.owner.createProject();
  const document = await site.notes(project.id);
  const typists = openCrowd(site, { document, random, hocuspocus: 2, yWebsocket: 2 });
  await until(() => typists.every(({ settled }) => settled), "everybody is in");

  const editing = Promise.all(typists.map((typist) => edits(typist, random.fork())));
  const trouble = random.fork();
  const killAt = 2 + trouble.below(CUTS - 4);
  for (let i = 0; i < CUTS; i += 1) {
    await delay(trouble.below((EDITS * EDIT_MS) / CUTS));
    if (i === killAt) {
      await site.server.kill("SIGKILL");
      await site.start();
      site.letIn();
    } else site.proxy.cut(trouble.chance(0.3) ? 0 : 1 + trouble.below(2_000));
  }
  await editing;
  // Whoever has still a few bytes to go before its cut is cut now.
  site.proxy.cut();
  await allEqual(site, typists);
  const [first] = typists;
  assert.ok(first !== undefined);
  // y-websocket's clients cannot know what is saved. The log is in order: what is acknowledged after theirs says it.
  first.type();
  await allEqual(site, typists);
  assert.equal(first.doc.store.pendingStructs, null, "nothing waits for something that never came");

  await site.server.kill("SIGKILL");
  site.proxy.shut();
  await site.start();
  const stored = await site.read(document);
  for (const typist of typists) {
    assert.ok(sameContent(typist.doc, stored), `${typist.name} is equal to the store`);
    assert.deepEqual(typist.doc.getMap("meta").toJSON(), stored.getMap("meta").toJSON());
  }
  const reconnects = typists.reduce((sum, { closes }) => sum + closes.length, 0);
  t.diagnostic(`seed ${seed}: ${first.text.length} characters, ${reconnects} closed sockets, all equal`);
}

describe("random edits over both protocols, with cuts and a kill", () => {
  for (const seed of SEEDS)
    it(`[WP6] converge on every replica and in the store (seed ${seed})`, (t) => run(t, seed));
});
