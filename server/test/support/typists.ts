import { HocuspocusProvider, HocuspocusProviderWebsocket, WebSocketStatus } from "@hocuspocus/provider";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { createLedger } from "./ledger.ts";
import type { Random } from "./random.ts";
import type { Site } from "./site.ts";

/** Real clients of both dialects that type words nobody else types, so that each word can be looked for afterwards. */
export interface Typist {
  readonly name: string;
  readonly dialect: "hocuspocus" | "y-websocket";
  readonly document: string;
  readonly doc: Y.Doc;
  readonly text: Y.Text;
  readonly words: readonly Word[];
  /** Updates that the server acknowledged, oldest first; none in the dialect that has no acknowledgements. */
  readonly promised: readonly Uint8Array[];
  /** All of `promised` as one update. */
  promisedSum(): Uint8Array;
  /** Close codes so far. */
  readonly closes: readonly number[];
  /** Notices (collab.ts in shared) so far. */
  readonly notices: readonly unknown[];
  readonly connected: boolean;
  /** Synced, and as far as the dialect can tell everything typed is saved. */
  readonly settled: boolean;
  /** Of `words`, how many the server has acknowledged. */
  acknowledgedWords(): Word[];
  /** One edit: mostly a new word between others, now and then an own word taken out again. */
  type(): void;
  startTyping(everyMs: number): void;
  stopTyping(): void;
  /** Comes back after a close that the client took as final. */
  connect(): void;
  destroy(): void;
}

export interface Word {
  readonly text: string;
  /** This client's clock after it typed the word: saved when the server has the client's updates up to there. */
  readonly end: number;
  removed: boolean;
}

export interface TypistOptions {
  readonly name: string;
  readonly wsUrl: string;
  readonly document: string;
  readonly token: string | (() => string);
  readonly random: Random;
  /** A replica that was there before: a tab that is reloaded. */
  readonly doc?: Y.Doc;
  /** Called in the turn in which a socket has closed, before the client comes back. */
  readonly onClose?: () => void;
}

const RECONNECT_MS = 40;
const REMOVES = 0.12;
/** The update of a document without content. */
const NOTHING = Uint8Array.of(0, 0);

/** A @hocuspocus/provider on a socket of its own. */
export function openHocuspocus(options: TypistOptions): Typist & { readonly provider: HocuspocusProvider } {
  const doc = options.doc ?? new Y.Doc();
  const ledger = createLedger();
  const closes: number[] = [];
  const notices: unknown[] = [];
  const socket = new HocuspocusProviderWebsocket({
    url: `${options.wsUrl}/collab`,
    WebSocketPolyfill: ledger.Socket,
    delay: RECONNECT_MS,
    minDelay: RECONNECT_MS,
    maxDelay: RECONNECT_MS * 4,
    onClose: ({ event }) => {
      closes.push(event.code);
      options.onClose?.();
    },
  });
  const provider = new HocuspocusProvider({
    websocketProvider: socket,
    name: options.document,
    document: doc,
    token: options.token,
    onStateless: ({ payload }) => notices.push(JSON.parse(payload)),
  });
  provider.attach();
  const isConnected = (): boolean => provider.isAuthenticated;
  return Object.assign(
    typist(options, {
      doc,
      dialect: "hocuspocus",
      closes,
      notices,
      promised: ledger.promised,
      isConnected,
      connect: () => {
        // It comes back by itself from any close, but on a socket on which it was denied it waits for ever.
        if (socket.status === WebSocketStatus.Connected)
          void provider.sendToken().then(() => provider.startSync());
      },
      isSettled: () => isConnected() && provider.isSynced && provider.unsyncedChanges === 0,
      destroy: () => {
        provider.destroy();
        socket.destroy();
      },
    }),
    { provider },
  );
}

/** y-websocket's provider. It shows its token in the URL, the same at every reconnect. */
export function openYWebsocket(
  options: TypistOptions & { readonly token: string },
): Typist & { readonly provider: WebsocketProvider } {
  const doc = options.doc ?? new Y.Doc();
  const closes: number[] = [];
  const provider = new WebsocketProvider(`${options.wsUrl}/yjs`, options.document, doc, {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- ws has what y-websocket uses of the browser's
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    params: { token: options.token },
    disableBc: true,
    maxBackoffTime: RECONNECT_MS * 4,
  });
  provider.on("connection-close", (event: { code: number } | null) => {
    if (event === null) return;
    closes.push(event.code);
    options.onClose?.();
  });
  return Object.assign(
    typist(options, {
      doc,
      dialect: "y-websocket",
      closes,
      notices: [],
      promised: [],
      isConnected: () => provider.wsconnected,
      connect: () => provider.connect(),
      isSettled: () => provider.synced,
      destroy: () => {
        provider.destroy();
        // y-websocket leaves the timer of its awareness running.
        provider.awareness.destroy();
      },
    }),
    { provider },
  );
}

export interface CrowdOptions {
  readonly document: string;
  readonly random: Random;
  readonly hocuspocus?: number;
  readonly yWebsocket?: number;
}

/** Clients of the owner on one document, by default two of the one dialect and one of the other; they end with the site. */
export function openCrowd(
  site: Pick<Site, "owner" | "after"> & { readonly proxy: Pick<Site["proxy"], "wsUrl"> },
  { document, random, hocuspocus = 2, yWebsocket = 1 }: CrowdOptions,
): Typist[] {
  const { wsUrl } = site.proxy;
  const { accessToken: token } = site.owner;
  const tag = document.slice(-4).toLowerCase();
  const as = (name: string) => ({ name: `${name}-${tag}`, wsUrl, document, token, random: random.fork() });
  const typists: Typist[] = [
    ...Array.from({ length: hocuspocus }, (_, i) => openHocuspocus(as(`h${i}`))),
    ...Array.from({ length: yWebsocket }, (_, i) => openYWebsocket(as(`y${i}`))),
  ];
  site.after(() => typists.forEach((each) => each.destroy()));
  return typists;
}

interface Client extends Pick<Typist, "doc" | "dialect" | "closes" | "notices" | "promised"> {
  isConnected(): boolean;
  isSettled(): boolean;
  connect(): void;
  destroy(): void;
}

function typist({ name, document, random }: TypistOptions, client: Client): Typist {
  const { doc, promised } = client;
  const text = doc.getText("md");
  const words: Word[] = [];
  let timer: NodeJS.Timeout | undefined;
  let counted = 0;
  let sum: Uint8Array = NOTHING;

  const promisedSum = (): Uint8Array => {
    if (counted < promised.length) sum = Y.mergeUpdates([sum, ...promised.slice(counted)]);
    counted = promised.length;
    return sum;
  };
  /** Words are never split: everybody types between them. */
  const place = (): number => {
    const current = text.toJSON();
    const from = random.below(current.length + 1);
    return random.chance(0.3) ? current.length : current.indexOf(">", from) + 1;
  };
  const add = (): void => {
    const word = `<${name}.${words.length + 1}${random.chance(0.1) ? " 论文🧪" : ""}>`;
    text.insert(place(), word);
    words.push({ text: word, end: Y.getState(doc.store, doc.clientID), removed: false });
  };
  const takeOut = (word: Word): void => {
    text.delete(text.toJSON().indexOf(word.text), word.text.length);
    word.removed = true;
  };
  const type = (): void => {
    const own = random.chance(REMOVES) ? words[random.below(words.length)] : undefined;
    if (own === undefined || own.removed) add();
    else takeOut(own);
  };

  return {
    name,
    document,
    doc,
    text,
    words,
    dialect: client.dialect,
    promised,
    closes: client.closes,
    notices: client.notices,
    get connected() {
      return client.isConnected();
    },
    get settled() {
      return client.isSettled();
    },
    promisedSum,
    acknowledgedWords: () => {
      const clock = Y.parseUpdateMeta(promisedSum()).to.get(doc.clientID) ?? 0;
      return words.filter((word) => word.end <= clock);
    },
    type,
    startTyping: (everyMs) => {
      timer ??= setInterval(type, everyMs);
    },
    stopTyping: () => {
      clearInterval(timer);
      timer = undefined;
    },
    connect: () => client.connect(),
    destroy: () => {
      clearInterval(timer);
      client.destroy();
    },
  };
}
