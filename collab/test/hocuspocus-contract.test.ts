import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { Hocuspocus, type Configuration, type Connection, type Document } from "@hocuspocus/server";
import * as Y from "yjs";
import { until } from "./support/harness.ts";
import { step1, update } from "./support/raw-client.ts";
import { textUpdate } from "./support/stage.ts";
import { readHeader } from "../src/inbound.ts";
import { MemberOrigin, STORED } from "../src/origin.ts";
import { MESSAGE } from "@scriptorium/shared";
import { authTokenMessage } from "../src/wire.ts";

const NAME = "any-document";

/** Stock Hocuspocus with a socket that is an array: what it sends is there to be looked at. */
interface Stock {
  readonly hocuspocus: Hocuspocus;
  connect(): { sent: Uint8Array[]; receive(data: Uint8Array): void; close(): void };
}

function stock(t: TestContext, configuration: Partial<Configuration> = {}): Stock {
  const hocuspocus = new Hocuspocus({ quiet: true, timeout: 3_600_000, flushDelay: 0, ...configuration });
  const closes: (() => void)[] = [];
  t.after(() => {
    for (const close of closes) close();
    for (const document of hocuspocus.documents.values()) document.destroy();
  });
  return {
    hocuspocus,
    connect() {
      const sent: Uint8Array[] = [];
      let readyState = 1;
      const socket = {
        get readyState() {
          return readyState;
        },
        send: (data: Uint8Array) => void sent.push(data),
        close: () => {
          readyState = 3;
        },
      };
      const client = hocuspocus.handleConnection(socket, new Request("http://contract.invalid/"));
      const close = (): void => {
        readyState = 3;
        client.handleClose();
      };
      closes.push(close);
      return { sent, receive: (data) => client.handleMessage(data), close };
    },
  };
}

function typesOf(sent: readonly Uint8Array[]): (number | undefined)[] {
  return sent.map((data) => readHeader(data)?.type);
}

function documentOf({ hocuspocus }: Stock): Document {
  const document = hocuspocus.documents.get(NAME);
  assert.ok(document !== undefined);
  return document;
}

describe("Hocuspocus", () => {
  it("[HP1] delivers a broadcast to all connections of one address as one and the same byte array", async (t) => {
    const server = stock(t);
    const clients = [server.connect(), server.connect(), server.connect()];
    for (const client of clients) client.receive(authTokenMessage(NAME, "token"));
    await until(() => server.hocuspocus.documents.get(NAME)?.getConnectionsCount() === 3, "all are open");
    for (const { sent } of clients) sent.length = 0;
    const document = documentOf(server);
    document.getText("md").insert(0, "broadcast");
    document.awareness.setLocalState({ here: true });
    await until(() => clients.every(({ sent }) => sent.length === 2), "one update and one presence each");
    for (const index of [0, 1])
      assert.equal(
        new Set(clients.map(({ sent }) => sent[index])).size,
        1,
        "the same array, not an equal one",
      );
  });

  it("[HP2] runs `connected` after loading, and sends nothing but the authentication and presence before it", async (t) => {
    const order: string[] = [];
    let sentBefore: (number | undefined)[] = [];
    const server = stock(t, {
      onLoadDocument: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        order.push("loaded");
      },
      connected: async () => {
        order.push("connected");
        sentBefore = typesOf(client.sent);
      },
    });
    const client = server.connect();
    client.receive(authTokenMessage(NAME, "token"));
    await until(() => order.length === 2, "connected");
    assert.deepEqual(order, ["loaded", "connected"]);
    assert.deepEqual(sentBefore, [MESSAGE.auth]);
  });

  it("[HP3] keeps a document loaded after a veto in `beforeUnloadDocument`, and does not ask again by itself", async (t) => {
    let asked = 0;
    let veto = true;
    const server = stock(t, {
      beforeUnloadDocument: async () => {
        asked += 1;
        // Without a message, which Hocuspocus would print.
        if (veto) throw new Error("");
      },
    });
    const client = server.connect();
    client.receive(authTokenMessage(NAME, "token"));
    await until(() => server.hocuspocus.documents.has(NAME), "open");
    const document = documentOf(server);
    client.close();
    await until(() => asked === 1, "asked");
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(server.hocuspocus.documents.get(NAME), document);
    assert.equal(document.isDestroyed, false);
    assert.equal(asked, 1);
    veto = false;
    await server.hocuspocus.unloadDocument(document);
    assert.deepEqual([asked, document.isDestroyed, server.hocuspocus.documents.size], [2, true, 0]);
  });

  it("[HP4] does not run a hook that is passed as undefined", async (t) => {
    const server = stock(
      t,
      Object.fromEntries(["onChange", "onAwarenessUpdate"].map((hook) => [hook, undefined])),
    );
    assert.equal(Reflect.get(server.hocuspocus.configuration, "onChange"), undefined);
    const client = server.connect();
    client.receive(authTokenMessage(NAME, "token"));
    await until(() => server.hocuspocus.documents.has(NAME), "open");
    const strays: unknown[] = [];
    const stray = (error: unknown): void => void strays.push(error);
    process.on("unhandledRejection", stray);
    t.after(() => process.off("unhandledRejection", stray));
    documentOf(server).getText("md").insert(0, "a change");
    documentOf(server).awareness.setLocalState({ here: true });
    await until(() => client.sent.length >= 3, "both are broadcast");
    assert.deepEqual(strays, []);
  });

  it("[HP5] never starts the debounced store for updates that say so, and does for others", async (t) => {
    let stored = 0;
    const server = stock(t, {
      debounce: 0,
      maxDebounce: 0,
      onStoreDocument: async () => {
        stored += 1;
      },
    });
    const client = server.connect();
    client.receive(authTokenMessage(NAME, "token"));
    await until(() => server.hocuspocus.documents.has(NAME), "open");
    const document = documentOf(server);
    const pending = (): boolean => server.hocuspocus.debouncer.isDebounced(`onStoreDocument-${NAME}`);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- who it is does not matter to Hocuspocus
    const origin = new MemberOrigin({} as ConstructorParameters<typeof MemberOrigin>[0]);
    Y.applyUpdate(document, textUpdate("by a member"), origin);
    Y.applyUpdate(document, textUpdate("from the store"), STORED);
    assert.deepEqual([pending(), stored], [false, 0]);
    Y.applyUpdate(document, textUpdate("by another"), "another origin");
    await until(() => stored === 1, "stored");
  });

  it("[HP1] gives every connection its address, with the session that it came with", async (t) => {
    const server = stock(t);
    const connections: Connection[] = [];
    const [plain, session] = [server.connect(), server.connect()];
    plain.receive(authTokenMessage(NAME, "token"));
    session.receive(authTokenMessage(`${NAME}\0s1`, "token"));
    await until(() => server.hocuspocus.documents.get(NAME)?.getConnectionsCount() === 2, "both are open");
    connections.push(...documentOf(server).getConnections());
    assert.deepEqual(
      connections.map(({ messageAddress }) => messageAddress),
      [NAME, `${NAME}\0s1`],
    );
    // The protocol that our links speak in its stead is the one that it speaks.
    session.receive(step1(`${NAME}\0s1`));
    session.receive(update(`${NAME}\0s1`, textUpdate("typed")));
    await until(() => typesOf(session.sent).includes(MESSAGE.syncStatus), "acknowledged");
    assert.equal(documentOf(server).getText("md").toJSON(), "typed");
  });
});
