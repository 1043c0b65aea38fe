import type { TestContext } from "node:test";
import type { DocumentStore } from "@scriptorium/collab";
import { faultyStore, memoryDocumentStore, type FaultyStore } from "@scriptorium/collab/testing";
import { CollabNotice } from "@scriptorium/shared";
import * as Y from "yjs";
import {
  notesName,
  openProvider,
  openYjs,
  startHarness,
  storedText,
  until,
  type ClientOptions,
  type Harness,
  type HarnessOptions,
  type ProviderClient,
  type YjsClient,
} from "./harness.ts";
import {
  openRawCollab,
  openRawYjs,
  openSocket,
  openTcp,
  type RawClient,
  type TcpReader,
} from "./raw-client.ts";

/** A server, one document and its clients; all end with the test, whatever its outcome. */
export interface Stage {
  readonly harness: Harness;
  /** The server's store, to make it fail. */
  readonly faulty: FaultyStore;
  readonly name: string;
  provider(token?: string, options?: ClientOptions & { name?: string }): ProviderClient;
  yjs(token?: string, options?: ClientOptions & { name?: string }): YjsClient;
  rawCollab(token?: string): Promise<RawClient>;
  rawYjs(token?: string): Promise<RawClient>;
  socket(path: string): Promise<RawClient>;
  tcp(path: string): Promise<TcpReader>;
  /** Runs `work` when the test has ended, before the server stops. */
  after(work: () => void): void;
  /** The text that a server which has just started finds in the store. */
  freshText(): Promise<string>;
}

export interface StageOptions extends Omit<HarnessOptions, "store"> {
  readonly store?: DocumentStore;
}

export async function openStage(t: TestContext, options: StageOptions = {}): Promise<Stage> {
  const faulty = faultyStore(options.store ?? memoryDocumentStore());
  const harness = await startHarness({ ...options, store: faulty.store });
  const { url } = harness;
  const name = notesName();
  const open: (() => void)[] = [];
  t.after(async () => {
    for (const end of open) end();
    faulty.heal();
    // Otherwise the server takes the time to close in a spread what is closing already.
    await until(() => harness.collab.stats().sockets === 0, "all clients are gone");
    await harness.stop();
  });
  const keep = <T extends { destroy(): void }>(client: T): T => {
    open.push(() => client.destroy());
    return client;
  };
  return {
    harness,
    faulty,
    name,
    provider: (token = "ada", given = {}) => keep(openProvider(url, given.name ?? name, { token, ...given })),
    yjs: (token = "bo", given = {}) => keep(openYjs(url, given.name ?? name, { ...given, token })),
    rawCollab: async (token) => keep(await openRawCollab(url, name, token)),
    rawYjs: async (token) => keep(await openRawYjs(url, name, token)),
    socket: async (path) => keep(await openSocket(`${url}${path}`)),
    tcp: async (path) => keep(await openTcp(url, path)),
    after: (work) => void open.push(work),
    async freshText() {
      // What y-websocket clients typed is acknowledged to nobody.
      await until(() => harness.collab.stats().uncommitted === 0, "all is committed");
      const other = await startHarness({ store: harness.store });
      try {
        return await storedText(other.collab, name);
      } finally {
        await other.stop();
      }
    },
  };
}

/** Why the client was last told that it may not write; null: it may; undefined: it was not told yet. */
export function readOnlyReason(client: ProviderClient): string | null | undefined {
  const last = client.notices
    .map((notice) => CollabNotice.parse(notice))
    .findLast((notice) => notice.type === "state");
  return last?.readOnly;
}

/** Types the words one by one at the end of the text, each in a turn and a message of its own. */
export async function type(client: { readonly text: Y.Text }, words: readonly string[]): Promise<void> {
  for (const word of words) {
    client.text.insert(client.text.length, word);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The update that a new client would send for this text. */
export function textUpdate(text: string, clientId?: number): Uint8Array {
  const doc = new Y.Doc();
  if (clientId !== undefined) doc.clientID = clientId;
  doc.getText("md").insert(0, text);
  const update = Y.encodeStateAsUpdate(doc);
  doc.destroy();
  return update;
}

export function textOf(update: Uint8Array): string {
  const doc = new Y.Doc();
  Y.applyUpdate(doc, update);
  const text = doc.getText("md").toJSON();
  doc.destroy();
  return text;
}
