import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { describe, it } from "node:test";
import { HocuspocusProvider } from "@hocuspocus/provider";
import * as Y from "yjs";
import { notesName, saved, until } from "./support/harness.ts";
import { openStage, textUpdate, type } from "./support/stage.ts";
import { step1, syncs, update } from "./support/raw-client.ts";
import { authTokenMessage } from "../src/wire.ts";

describe("opening and closing documents", () => {
  it("[LM2] keeps what is typed while the provider still fetches its token", async (t) => {
    const stage = await openStage(t);
    let release: (() => void) | undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const ada = stage.provider("", {
      token: async () => {
        await gate;
        return "ada";
      },
    });
    const bo = stage.provider("bo");
    await saved(bo);
    await until(() => ada.socket.webSocket?.readyState === 1, "the socket is open");
    await type(ada, ["early ", "words "]);
    release?.();
    await saved(ada);
    assert.deepEqual(ada.closes, []);
    await until(() => bo.text.toJSON() === "early words ", "bo sees the words");
    assert.equal(await stage.freshText(), "early words ");
  });
});

describe("documents on one socket", () => {
  it("[WP2] several documents share a socket, and a denial of one leaves the others working", async (t) => {
    const stage = await openStage(t);
    const [second, secret] = [notesName(), notesName()];
    stage.harness.people.permissions.set(`ada ${secret}`, "none");
    const ada = stage.provider("ada");
    const open = (name: string, denials: string[]): HocuspocusProvider => {
      const provider = new HocuspocusProvider({
        websocketProvider: ada.socket,
        name,
        token: "ada",
        onAuthenticationFailed: ({ reason }) => denials.push(reason),
      });
      provider.attach();
      stage.after(() => provider.destroy());
      return provider;
    };
    const denials: string[] = [];
    const other = open(second, denials);
    const denied = open(secret, denials);
    await until(() => denials.length === 1, "one is denied");
    assert.deepEqual(denials, ["forbidden"]);
    // A person who does not notice goes on typing; it must not count against the documents that are open.
    for (let i = 0; i < 500; i += 1) denied.document.getText("md").insert(0, "x");
    ada.text.insert(0, "first");
    other.document.getText("md").insert(0, "second");
    await until(() => ada.provider.unsyncedChanges === 0 && other.unsyncedChanges === 0, "both are saved");
    assert.deepEqual(ada.closes, []);
    assert.equal(await stage.freshText(), "first");
    assert.deepEqual(await stage.harness.store.readRows(secret, 1), []);
  });

  it("[WP2] closes and opens a document again on the same socket, in one chunk of bytes", async (t) => {
    const stage = await openStage(t);
    const raw = await stage.tcp("/collab");
    raw.send(authTokenMessage(stage.name, "ada"));
    raw.send(step1(stage.name));
    const bo = stage.provider("bo");
    await saved(bo);
    await until(() => syncs(raw, stage.name).length >= 2, "the first opening is synced");
    raw.socket.cork();
    raw.send(closeMessage(stage.name));
    raw.send(authTokenMessage(stage.name, "ada"));
    raw.send(step1(stage.name));
    raw.send(update(stage.name, textUpdate("again")));
    raw.socket.uncork();
    await until(() => bo.text.toJSON() === "again", "the second opening works");
    await until(() => syncs(raw, stage.name).length >= 4, "both openings are synced");
    bo.text.insert(0, "bo ");
    await until(() => syncs(raw, stage.name).at(-1)?.kind === "update", "the second opening is served");
    assert.equal(raw.closeCode, undefined);
  });

  it("[PR5] a document that is closed while it is being opened leaves no ghost", async (t) => {
    const stage = await openStage(t);
    const bo = stage.provider("bo");
    const ada = stage.provider("ada", { name: notesName() });
    await saved(bo);
    await saved(ada);
    stage.faulty.inject({ kind: "stall" }, ["readRows"]);
    const name = notesName();
    const late = new HocuspocusProvider({ websocketProvider: ada.socket, name, token: "ada" });
    late.setAwarenessField("cursor", 1);
    late.attach();
    await until(() => stage.faulty.stalled === 1, "the document is being loaded");
    late.destroy();
    // A round trip on the same socket: the server has seen the close.
    ada.text.insert(0, "!");
    await saved(ada);
    stage.faulty.heal();
    const carl = stage.provider("carl", { name });
    await saved(carl);
    assert.deepEqual([...(carl.provider.awareness?.getStates().keys() ?? [])], [carl.doc.clientID]);
    carl.destroy();
    await until(() => stage.harness.collab.stats().documents === 2, "the late document is not open");
  });

  it("[WP2] a provider that is replaced by another while it is being opened works", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada", { name: notesName() });
    await saved(ada);
    stage.faulty.inject({ kind: "stall" }, ["readRows"]);
    const open = (): HocuspocusProvider => {
      const provider = new HocuspocusProvider({
        websocketProvider: ada.socket,
        name: stage.name,
        document: new Y.Doc(),
        token: "ada",
      });
      provider.attach();
      return provider;
    };
    const first = open();
    await until(() => stage.faulty.stalled === 1, "the document is being loaded");
    first.destroy();
    const second = open();
    stage.after(() => second.destroy());
    second.document.getText("md").insert(0, "second");
    await delay(0);
    stage.faulty.heal();
    await until(() => second.isSynced && second.unsyncedChanges === 0, "the second is saved");
    assert.equal(await stage.freshText(), "second");
  });

  it("[WP7] two providers with session awareness share one socket and one document", async (t) => {
    const stage = await openStage(t);
    const ada = stage.provider("ada", { name: notesName() });
    const providers = [1, 2].map(() => {
      const provider = new HocuspocusProvider({
        websocketProvider: ada.socket,
        name: stage.name,
        token: "ada",
        sessionAwareness: true,
      });
      provider.attach();
      stage.after(() => provider.destroy());
      return provider;
    });
    const [one, two] = providers;
    assert.ok(one !== undefined && two !== undefined);
    const bo = stage.provider("bo");
    await until(() => providers.every((provider) => provider.isSynced), "both are synced");
    one.document.getText("md").insert(0, "one ");
    await until(() => two.document.getText("md").length === 4, "the other half of the socket sees it");
    two.document.getText("md").insert(4, "two ");
    bo.text.insert(0, "bo ");
    await until(
      () => providers.every((provider) => provider.unsyncedChanges === 0) && bo.text.length === 11,
      "all are saved",
    );
    await until(() => providers.every(({ document }) => document.getText("md").length === 11), "equal texts");
    one.destroy();
    two.document.getText("md").insert(0, "still ");
    await until(() => two.unsyncedChanges === 0 && bo.text.length === 17, "the one that is left works");
    assert.equal(await stage.freshText(), bo.text.toJSON());
  });
});

function closeMessage(name: string): Uint8Array {
  const address = authTokenMessage(name, "");
  // The address, then type 7 instead of an authentication.
  return Uint8Array.from([...address.subarray(0, address.length - 3), 7]);
}
