import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as Y from "yjs";
import { assertKept, converge } from "./support/audit.ts";
import { seeded } from "./support/random.ts";
import { openSite, until } from "./support/site.ts";
import { openHocuspocus, openYWebsocket, type Typist } from "./support/typists.ts";

const RESTARTS = 5;

/** What a browser keeps of a document over a reload: everything but the identity of the client. */
function kept(doc: Y.Doc): Y.Doc {
  const copy = new Y.Doc();
  Y.applyUpdate(copy, Y.encodeStateAsUpdate(doc));
  return copy;
}

describe("two tabs of one person", () => {
  it(`[DL3] reload over ${RESTARTS} restarts of the server without a text that grows`, async (t) => {
    const site = await openSite(t);
    const random = seeded(6);
    const project = await site.owner.createProject();
    const document = await site.notes(project.id);
    const { wsUrl } = site.proxy;
    const { accessToken: token } = site.owner;
    const opened: Typist[] = [];
    site.after(() => opened.forEach((tab) => tab.destroy()));
    const as = (name: string, doc?: Y.Doc) => ({
      name: `${name}${opened.length}`,
      wsUrl,
      document,
      token,
      random: random.fork(),
      ...(doc === undefined ? {} : { doc }),
    });
    const keep = (tab: Typist): Typist => {
      opened.push(tab);
      return tab;
    };
    let tabs = [keep(openHocuspocus(as("first"))), keep(openHocuspocus(as("second")))];
    await until(() => tabs.every(({ settled }) => settled), "both are in");
    for (let i = 0; i < 30; i += 1) for (const tab of tabs) tab.type();
    await converge(site, tabs);
    const text = (await site.read(document)).getText("md").toJSON();
    assert.ok(text.length > 200);

    for (let round = 0; round < RESTARTS; round += 1) {
      await site.server.kill(round % 2 === 0 ? "SIGKILL" : "SIGTERM");
      // One is closed and opened again while the server is away, with what the browser has kept; one stays.
      const [first, second] = tabs;
      assert.ok(first !== undefined && second !== undefined);
      first.destroy();
      const back = keep(openHocuspocus(as("back", kept(first.doc))));
      await site.start();
      const stored = await site.read(document);
      assert.equal(stored.getText("md").toJSON(), text);
      assertKept(stored, opened);
      site.letIn();
      await until(() => back.settled && second.settled, "both are in again");
      // Reloads without a restart: from nothing, and from what was kept, and a tab of the other dialect.
      second.destroy();
      const fresh = keep(openHocuspocus(as("fresh")));
      const duplicate = keep(openHocuspocus(as("duplicate", kept(back.doc))));
      const other = keep(openYWebsocket(as("other", kept(back.doc))));
      await until(() => fresh.settled && duplicate.settled && other.settled, "the reloaded are in");
      for (const tab of [back, fresh, duplicate, other]) assert.equal(tab.text.toJSON(), text, tab.name);
      assert.equal((await site.read(document)).getText("md").toJSON(), text);
      duplicate.destroy();
      other.destroy();
      tabs = [back, fresh];
    }
  });
});
