import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { assertKept, converge } from "./support/audit.ts";
import { seeded } from "./support/random.ts";
import { openSite, until } from "./support/site.ts";
import { openCrowd } from "./support/typists.ts";

const ROUNDS = 4;
const TYPE_MS = 40;
const DRAIN_MS = 6_000;
/** Beyond DRAIN_MS and the half second after which the process ends whatever is open; a loaded machine is slow. */
const MARGIN_MS = 15_000;

describe("SIGTERM under typing", () => {
  it("[EN1] [DL3] commits what was accepted, closes every socket with 1012 and ends with 0", async (t) => {
    const random = seeded(randomInt(2 ** 31));
    t.diagnostic(`seed ${random.seed}`);
    const site = await openSite(t, { env: { DRAIN_MS: String(DRAIN_MS) } });
    const project = await site.owner.createProject();
    const documents = [await site.notes(project.id), await site.notes(project.id)];
    const typists = documents.flatMap((document) => openCrowd(site, { document, random }));
    await until(() => typists.every(({ settled }) => settled), "everybody is in");

    for (let round = 0; round < ROUNDS; round += 1) {
      for (const typist of typists) typist.startTyping(TYPE_MS);
      await delay(50 + random.below(600));
      const closesBefore = new Map(typists.map((typist) => [typist, typist.closes.length]));
      const began = performance.now();
      const ended = await Promise.race([
        site.server.kill("SIGTERM"),
        delay(DRAIN_MS + MARGIN_MS, "late", { ref: false }),
      ]);
      assert.deepEqual(ended, { code: 0, signal: null }, `ends by itself: ${site.server.logs()}`);
      const tookMs = Math.round(performance.now() - began);
      site.proxy.shut();
      await until(() => typists.every(({ connected }) => !connected), "every client has seen the end");
      // The first close counts: later ones are of attempts to come back while nobody is there.
      for (const typist of typists)
        assert.equal(typist.closes[closesBefore.get(typist) ?? 0], 1012, typist.name);
      await site.start();
      let acknowledged = 0;
      for (const [document, group] of Map.groupBy(typists, (typist) => typist.document))
        acknowledged += assertKept(await site.read(document), group).acknowledged;
      t.diagnostic(`ended after ${tookMs} ms; ${acknowledged} words acknowledged so far, all there`);
      site.letIn();
      await converge(site, typists);
    }
  });
});
