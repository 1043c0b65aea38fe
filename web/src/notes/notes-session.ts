import { batch, computed, effect, signal, type ReadonlySignal } from "@preact/signals";
import {
  FAILURES,
  formatDocumentName,
  isFailureCode,
  type ReadOnlyReason,
  type User,
} from "@scriptorium/shared";
import type { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import { ApiFailure } from "../api/http.ts";
import { databaseName, noteUnsentEdits, unsentEdits } from "../session/local-data.ts";
import { accessToken, session } from "../session/session.ts";
import type { Person } from "../ui/avatar.tsx";
import { openLedger, step, unsaved, type LedgerEvent } from "./ack-ledger.ts";
import { closeAction } from "./close-code.ts";
import { DurableProvider } from "./durable-provider.ts";
import { openLocalCopy } from "./local-copy.ts";
import { parseNotice } from "./notice.ts";
import { peopleHere } from "./presence.ts";
import { saveState, SLOW_AFTER_MS, type Link, type SaveState, type StopReason } from "./save-state.ts";

/** Text that this device held when its copy had to be given up. */
export interface LostText {
  readonly text: string;
  readonly edits: number;
}

export interface NotesSession {
  readonly text: Y.Text;
  readonly awareness: Awareness;
  readonly save: ReadonlySignal<SaveState>;
  /** The document holds the real text: the server's, or a copy of it. Until then there is nothing to show. */
  readonly readable: ReadonlySignal<boolean>;
  readonly editable: ReadonlySignal<boolean>;
  readonly people: ReadonlySignal<readonly Person[]>;
  /** Keeps updates back while a composition is under way, and lets them go. */
  readonly hold: () => void;
  readonly release: () => void;
  /** Gives up what the server does not have. Ends in `onStartOver`. */
  readonly discard: () => Promise<void>;
  readonly stop: () => void;
}

export interface NotesDeps {
  readonly user: User;
  readonly paperId: string;
  /** ws:// or wss:// address of the collaboration endpoint. */
  readonly url: string;
  /** This session has ended and its local copy is gone: open another one. */
  readonly onStartOver: (lost: LostText | null) => void;
}

/** The provider's reconnection: half a second at first, never more than eight, with jitter. */
const BACKOFF = { delay: 500, minDelay: 300, factor: 1.6, maxDelay: 8_000 };
/** While the server cannot be asked for a token, ask again after this. */
const TOKEN_RETRY_MS = 2_000;
/** Answers to the last edits arrive within this, or the next visit sends those edits again. */
const LINGER_MS = 5_000;
/** A message that is too big is sent again at every connection; after so many, it will not get through. */
const TOO_BIG_ATTEMPTS = 3;

/** One person's live connection to the notes of a paper, with its copy on this device. */
export function openNotes({ user, paperId, url, onStartOver }: NotesDeps): NotesSession {
  const name = formatDocumentName({ kind: "notes", id: paperId });
  const doc = new Y.Doc();
  const text = doc.getText("md");
  const copy = openLocalCopy(databaseName(user.id, name), doc);
  const own: Person = { id: user.id, name: user.displayName, color: user.color };

  const ledger = signal(openLedger(unsentEdits(user.id, name)));
  const waitedMs = signal(0);
  const link = signal<Link>("connecting");
  const readOnly = signal<ReadOnlyReason | null>(null);
  const stopped = signal<StopReason | null>(null);
  const readable = signal(false);
  const people = signal<readonly Person[]>([own]);
  const waiting = computed(() => unsaved(ledger.value));

  let ended = false;
  let copiedEpoch = 0;
  let epoch = 0;
  let scopeReadOnly = false;
  let token = "";
  let refusedToken: string | undefined;
  let tooBig = 0;
  let slowTimer: ReturnType<typeof setTimeout> | undefined;

  const onLedger = (event: LedgerEvent) => {
    const before = waiting.peek();
    ledger.value = step(ledger.peek(), event);
    const after = waiting.peek();
    if (after !== before) noteUnsentEdits(user.id, name, after);
    if (event.type === "edit" && before > 0) return;
    clearTimeout(slowTimer);
    waitedMs.value = 0;
    if (after > 0) slowTimer = setTimeout(() => (waitedMs.value = SLOW_AFTER_MS), SLOW_AFTER_MS);
  };

  const freshToken = async (): Promise<string> => {
    for (;;) {
      try {
        token = await accessToken(refusedToken);
        return token;
      } catch (error) {
        if (!(error instanceof ApiFailure) || error.signedOut || ended) throw error;
        await new Promise((resolve) => setTimeout(resolve, TOKEN_RETRY_MS));
      }
    }
  };

  const provider = DurableProvider.open({
    url,
    name,
    document: doc,
    token: freshToken,
    autoConnect: false,
    ...BACKOFF,
    onLedger,
    isOwnEdit: (origin) => origin !== copy.origin,
  });
  const { awareness } = provider;
  if (awareness === null) throw new Error("the provider was opened with awareness");

  const setReadOnly = (reason: ReadOnlyReason | null) => {
    readOnly.value = reason;
    if (readable.peek()) copy.remember({ epoch, readOnly: reason === "role" });
  };

  const end = async () => {
    ended = true;
    clearTimeout(slowTimer);
    removeEventListener("pageshow", onPageShow);
    removeEventListener("online", onOnline);
    provider.destroy();
    await copy.close();
    doc.destroy();
  };

  const startOver = async (keepText: boolean) => {
    if (ended) return;
    const edits = waiting.peek();
    const lost = keepText && edits > 0 ? { text: text.toJSON(), edits } : null;
    ended = true;
    provider.disconnect();
    await copy.forget();
    await end();
    noteUnsentEdits(user.id, name, 0);
    onStartOver(lost);
  };

  /** Leaves at once as far as others see, but stays for the answers to what is on its way. */
  const leave = async () => {
    if (ended) return;
    awareness.setLocalState(null);
    const answered = signal(false);
    const giveUp = setTimeout(() => (answered.value = true), LINGER_MS);
    await new Promise<void>((resolve) => {
      const stopWatching = effect(() => {
        const waits = waiting.value > 0 && link.value === "open" && session.value !== null && !answered.value;
        if (!waits) queueMicrotask(() => (stopWatching(), resolve()));
      });
    });
    clearTimeout(giveUp);
    if (!ended) await end();
  };

  const stopWith = (reason: StopReason) => {
    provider.disconnect();
    stopped.value = reason;
  };

  const renew = () => {
    if (refusedToken !== undefined) return stopWith("signed-out");
    refusedToken = token;
    provider.disconnect();
    void provider.connect();
  };

  const onClosed = (code: number) => {
    if (ended) return;
    if (readOnly.peek() !== "role") readOnly.value = null;
    // A document may be closed alone, on a socket that stays: only a new connection opens it again.
    const socket = provider.configuration.websocketProvider.webSocket;
    if (socket?.readyState === WebSocket.OPEN) return socket.close();
    tooBig = code === FAILURES.payload_too_large.close ? tooBig + 1 : 0;
    if (tooBig >= TOO_BIG_ATTEMPTS) return stopWith("too-large");
    const action = closeAction(code);
    if (action.do === "stop") stopWith(action.reason);
    if (action.do === "start-over") void startOver(true);
    if (action.do === "renew") renew();
  };

  provider.on("status", ({ status }: { status: string }) => {
    if (status === "connected") link.value = "open";
    else if (status === "disconnected" || link.peek() === "open") link.value = "offline";
  });
  provider.on("close", ({ event }: { event: { code: number } }) => onClosed(event.code));
  provider.on("authenticated", ({ scope }: { scope: string }) => {
    refusedToken = undefined;
    scopeReadOnly = scope === "readonly";
    if (scopeReadOnly && readOnly.peek() === null) setReadOnly("role");
    if (!scopeReadOnly && readOnly.peek() === "role") setReadOnly(null);
  });
  provider.on("authenticationFailed", ({ reason }: { reason: string }) => {
    if (session.peek() === null) return stopWith("signed-out");
    onClosedFor(reason);
  });
  const onClosedFor = (reason: string) => {
    if (!isFailureCode(reason)) return stopWith("forbidden");
    const action = closeAction(FAILURES[reason].close);
    if (action.do === "stop") stopWith(action.reason);
    if (action.do === "renew") renew();
  };
  provider.on("stateless", ({ payload }: { payload: string }) => {
    const notice = parseNotice(payload);
    if (notice === undefined || ended) return;
    const otherLineage = copiedEpoch > 0 && notice.epoch !== copiedEpoch;
    if (notice.type === "reset" || otherLineage) {
      void startOver(true);
      return;
    }
    epoch = notice.epoch;
    setReadOnly(notice.readOnly ?? (scopeReadOnly ? "role" : null));
  });
  provider.on("synced", () => {
    batch(() => {
      readable.value = true;
      copiedEpoch = epoch;
    });
    copy.remember({ epoch, readOnly: readOnly.peek() === "role" });
  });

  awareness.on("change", () => {
    people.value = peopleHere(awareness, own);
  });
  const announce = () => awareness.setLocalState({ user: own });
  /** Leaving took us off the list (`pagehide`); a page that comes back from the browser's cache is here again. */
  const onPageShow = (event: PageTransitionEvent) => {
    if (event.persisted) announce();
  };
  const onOnline = () => {
    if (link.peek() === "offline" && stopped.peek() === null) void provider.connect();
  };
  addEventListener("pageshow", onPageShow);
  addEventListener("online", onOnline);

  const open = async () => {
    const facts = await copy.loaded;
    if (ended) return;
    if (facts !== undefined) {
      copiedEpoch = facts.epoch;
      epoch = facts.epoch;
      readOnly.value = facts.readOnly ? "role" : null;
      readable.value = true;
    }
    announce();
    void provider.connect();
  };
  void open();

  return {
    text,
    awareness,
    save: computed(() =>
      saveState({
        link: link.value,
        settled: ledger.value.settled,
        unsaved: waiting.value,
        readOnly: readOnly.value,
        stopped: stopped.value,
        waitedMs: waitedMs.value,
      }),
    ),
    readable,
    editable: computed(() => readable.value && stopped.value === null && readOnly.value === null),
    people,
    hold: () => provider.hold(),
    release: () => provider.release(),
    discard: () => startOver(false),
    stop: () => void leave(),
  };
}
