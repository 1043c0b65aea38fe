import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { CollabNotice } from "@scriptorium/shared";
import { assertKept, converge } from "./support/audit.ts";
import { seeded } from "./support/random.ts";
import { openSite, until, type Site } from "./support/site.ts";
import { openCrowd, type Typist } from "./support/typists.ts";

/**
 * A disk that takes nothing more, for real: the kernel refuses every write of the server to a file (RLIMIT_FSIZE, which
 * Linux lets us change in a running process). SQLite sees EFBIG in the middle of a commit.
 */
async function refuseWrites(site: Site, refuse: boolean): Promise<void> {
  const soft = refuse ? "0" : "unlimited";
  await promisify(execFile)("prlimit", [`--pid=${site.server.pid}`, `--fsize=${soft}:unlimited`]);
}

const TYPE_MS = 100;
/** The room's own storeGraceMs is 10 s. */
const GRACE_AND_MORE_MS = 30_000;

const readyz = async (site: Site): Promise<number> => (await fetch(`${site.server.url}/readyz`)).status;

function readOnly(typist: Typist): string | null | undefined {
  const last = typist.notices
    .map((notice) => CollabNotice.parse(notice))
    .findLast((notice) => notice.type === "state");
  return last?.readOnly;
}

const promisedTo = (typists: readonly Typist[]): number =>
  typists.reduce((sum, { promised }) => sum + promised.length, 0);

async function openScene(site: Site, seed: number): Promise<{ document: string; typists: Typist[] }> {
  const project = await site.owner.createProject();
  const document = await site.notes(project.id);
  const typists = openCrowd(site, { document, random: seeded(seed) });
  await until(() => typists.every(({ settled }) => settled), "everybody is in");
  for (const typist of typists) typist.startTyping(TYPE_MS);
  await until(() => promisedTo(typists) > 10, "acknowledgements come");
  return { document, typists };
}

describe("a disk that refuses writes", () => {
  it("[SH1] [SH2] [SH3] holds acknowledgements, turns documents read-only, and recovers by itself", async (t) => {
    const site = await openSite(t);
    const { document, typists } = await openScene(site, 3);
    const told = typists.filter(({ dialect }) => dialect === "hocuspocus");

    for (let outage = 0; outage < 2; outage += 1) {
      for (const typist of typists) typist.startTyping(TYPE_MS);
      await refuseWrites(site, true);
      await until(async () => (await readyz(site)) === 503, "the server says that it is not ready");
      const promised = promisedTo(typists);
      const typed = told.map(({ words }) => words.length);
      // Edits are still taken and shown to others: they only wait for the word "saved".
      await until(
        () => told.every(({ words }, i) => words.length > (typed[i] ?? 0) + 5),
        "they go on typing",
      );
      assert.ok(told.every((typist) => readOnly(typist) === null));
      const shown = (from: number, to: number): boolean =>
        told[from]?.words
          .slice(typed[from])
          .some((word) => told[to]?.text.toJSON().includes(word.text) === true) === true;
      await until(() => shown(0, 1) && shown(1, 0), "each sees what the other typed meanwhile");
      await until(
        () => told.every((typist) => readOnly(typist) === "store"),
        "writers are told that the store is away",
        GRACE_AND_MORE_MS,
      );
      assert.equal(promisedTo(typists), promised, "nothing was acknowledged meanwhile");
      assert.equal(await readyz(site), 503);
      assert.equal((await fetch(`${site.server.url}/healthz`)).status, 200);
      assert.ok(
        typists.every(({ connected }) => connected),
        "nobody was thrown out",
      );
      // What is typed now is refused, and must come again.
      await delay(5 * TYPE_MS);

      await refuseWrites(site, false);
      await until(() => told.every((typist) => readOnly(typist) === null), "documents are writable again");
      await until(async () => (await readyz(site)) === 200, "the server is ready again");
      await converge(site, typists);
    }

    await site.server.kill("SIGKILL");
    site.proxy.shut();
    await site.start();
    assertKept(await site.read(document), typists);
    t.diagnostic(`${typists.flatMap(({ words }) => words).length} words over two outages, each there once`);
  });

  it("[DL3] loses nothing that was acknowledged when the server is killed meanwhile", async (t) => {
    const site = await openSite(t);
    const { document, typists } = await openScene(site, 4);
    await refuseWrites(site, true);
    await until(async () => (await readyz(site)) === 503, "the server says that it is not ready");
    await delay(5 * TYPE_MS);
    await site.server.kill("SIGKILL");
    site.proxy.shut();
    await until(() => typists.every(({ connected }) => !connected), "every client has seen the end");
    await site.start();
    assertKept(await site.read(document), typists);
    site.letIn();
    await converge(site, typists);
  });
});
