import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type * as Y from "yjs";
import { assertKept, converge, sameContent } from "./support/audit.ts";
import { seeded, type Random } from "./support/random.ts";
import { openSite, until, type Site } from "./support/site.ts";
import { openCrowd, openHocuspocus, type Typist } from "./support/typists.ts";

const ROUNDS = 20;
/** Per client; the three clients of a document together make some 75 updates a second. */
const TYPE_MS = 40;

const promisedTo = (typists: readonly Typist[]): number =>
  typists.reduce((sum, { promised }) => sum + promised.length, 0);

/** Any moment: while clients are still coming in, in the middle of a commit, or right after an acknowledgement. */
async function untilTheKill(typists: readonly Typist[], random: Random): Promise<void> {
  if (random.chance(0.5)) return delay(30 + random.below(900));
  const enough = promisedTo(typists) + 1 + random.below(60);
  await until(() => promisedTo(typists) >= enough, "acknowledgements come");
}

/** A client that comes with nothing is shown what the store holds. */
async function assertShown(
  site: Site,
  { document, stored }: { document: string; stored: Y.Doc },
): Promise<void> {
  const { accessToken: token } = site.owner;
  const observer = openHocuspocus({
    name: "observer",
    wsUrl: site.server.wsUrl,
    document,
    token,
    random: seeded(0),
  });
  try {
    await until(() => observer.settled, "the observer is synced");
    assert.ok(sameContent(observer.doc, stored), "the observer sees what the store holds");
  } finally {
    observer.destroy();
  }
}

describe("kill -9 of the server", () => {
  it(`[DL3] [FX2] loses no acknowledged edit and doubles no text, ${ROUNDS} times in a row under typing`, async (t) => {
    const random = seeded(randomInt(2 ** 31));
    t.diagnostic(`seed ${random.seed}`);
    const site = await openSite(t);
    const project = await site.owner.createProject();
    const documents = [await site.notes(project.id), await site.notes(project.id)];
    const typists = documents.flatMap((document) => openCrowd(site, { document, random }));
    const byDocument = Map.groupBy(typists, ({ document }) => document);
    let onTheirWay = 0;

    for (let round = 0; round < ROUNDS; round += 1) {
      for (const typist of typists) typist.startTyping(TYPE_MS);
      await untilTheKill(typists, random);
      const typed = new Map(typists.map((typist) => [typist, typist.words.length]));
      await site.server.kill("SIGKILL");
      site.proxy.shut();
      // They go on typing; what they were promised is fixed from here on.
      await until(() => typists.every(({ connected }) => !connected), "every client has seen the end");
      await site.start();
      for (const [document, group] of byDocument) {
        const stored = await site.read(document);
        assertKept(stored, group);
        const text = stored.getText("md").toJSON();
        for (const typist of group)
          onTheirWay += typist.words
            .slice(0, typed.get(typist))
            .filter((word) => !word.removed && !text.includes(word.text)).length;
        await assertShown(site, { document, stored });
      }
      site.letIn();
      await converge(site, typists);
    }

    const acknowledged = typists.flatMap((typist) => typist.acknowledgedWords()).length;
    t.diagnostic(
      `${ROUNDS} kills: ${acknowledged} acknowledged words, 0 lost, 0 doubled; ` +
        `${onTheirWay} were on their way at a kill, not stored, and brought again`,
    );
    assert.ok(acknowledged > ROUNDS * 10, "there was something to lose");
    assert.ok(onTheirWay > 0, "something was on its way");
  });
});
