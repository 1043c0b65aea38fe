import * as Y from "yjs";
import { sum } from "../measure/stats.ts";
import { createWire } from "../wire/protocol.ts";
import { FIELD, readRanges } from "../wire/typing.ts";
import { sleep } from "./fleet.ts";
import { build } from "./material.ts";
import type { Material } from "./material.ts";
import { openMember } from "./member.ts";
import type { Door, Member } from "./member.ts";

/** What a single client does: fills a document, opens one, pastes without end. */

export interface Seeded {
  readonly stateBytes: number;
  readonly letters: number;
  readonly messages: number;
}

export interface Opened {
  /** From the connection's begin until the whole document has come and has been applied. */
  readonly ms: number;
  /** Received until it has been quiet for a while, so that a document sent twice counts twice. */
  readonly bytesIn: number;
  readonly letters: number;
  /** Letters ever typed, deleted ones too: the sum of the state vector. */
  readonly clocks: number;
}

const QUIET_MS = 700;
const POLL_MS = 20;
const OPEN_DEADLINE_MS = 60_000;

/** Opens the document into a real Y.Doc; done when `complete` says so and the line has been quiet. */
async function openWhole(door: Door, complete: (doc: Y.Doc) => boolean): Promise<Opened> {
  const doc = new Y.Doc();
  const wire = createWire(door.protocol, door.document);
  const begin = performance.now();
  let doneMs = Number.NaN;
  let lastAt = begin;
  const member = await openMember(door, {
    onUpdate: (payload) => {
      const message = wire.read(payload);
      if (message.type === "update") Y.applyUpdate(doc, message.update);
      lastAt = performance.now();
      if (Number.isNaN(doneMs) && complete(doc)) doneMs = lastAt - begin;
    },
  });
  const deadline = begin + OPEN_DEADLINE_MS;
  const waits = (): boolean => Number.isNaN(doneMs) || performance.now() - lastAt < QUIET_MS;
  while (waits() && performance.now() < deadline) await sleep(POLL_MS);
  member.socket.close();
  return {
    ms: doneMs,
    bytesIn: member.socket.bytesIn(),
    letters: doc.getText(FIELD).length,
    clocks: sum(Y.decodeStateVector(Y.encodeStateVector(doc)).values()),
  };
}

const IN_FLIGHT = 16;

/** Writes the material into an empty document; resolves when every message is acked or seen by another client. */
export async function seed(door: Door, material: Material): Promise<Seeded> {
  const built = build(material);
  let acks = 0;
  let refused = 0;
  const member = await openMember(door, {
    onUpdate: () => undefined,
    onAck: (applied) => {
      if (applied) acks += 1;
      else refused += 1;
    },
  });
  const deadline = performance.now() + OPEN_DEADLINE_MS;
  let sent = 0;
  for (const update of built.updates) {
    member.socket.send(member.wire.update(update));
    sent += 1;
    while (member.wire.acks && sent - acks - refused > IN_FLIGHT && performance.now() < deadline) await sleep(1);
    if (member.closedBecause() !== undefined) throw new Error(`seeding: ${member.closedBecause()}`);
  }
  while (member.wire.acks && acks + refused < sent && performance.now() < deadline) await sleep(1);
  if (refused > 0 || (member.wire.acks && acks < sent)) {
    throw new Error(`seeding: of ${sent} updates ${acks} were acked and ${refused} refused`);
  }
  const wanted = sum(built.stateVector.values());
  const check = await openWhole(door, (doc) => doc.getText(FIELD).length === built.letters);
  member.socket.close();
  if (check.clocks !== wanted) throw new Error(`seeding: ${check.clocks} of ${wanted} clocks arrived`);
  return { stateBytes: built.stateBytes, letters: built.letters, messages: sent };
}

/** `letters`: what the whole document has; undefined takes what the server's first answer brings. */
export function open(door: Door, letters: number | undefined): Promise<Opened> {
  return openWhole(door, (doc) => letters === undefined || doc.getText(FIELD).length === letters);
}

export interface Paster {
  /** Replaces the text by another of the same size until so many bytes were sent; resolves when they came through. */
  paste(bytes: number): Promise<{ ms: number }>;
  /** One of the two readers reads nothing from now on. */
  stopReader(): void;
  closed(): string | undefined;
  close(): void;
}

const PASTE_BYTES = 16 * 1024;
const PASTE_BYTES_PER_SECOND = 12 * 1024 * 1024;
const PASTE_DEADLINE_MS = 120_000;

/** A writer, a reader that reads, and one that may stop. The document itself stays small. */
export async function openPaster(door: Door): Promise<Paster> {
  const doc = new Y.Doc();
  const text = doc.getText(FIELD);
  let seen = 0;
  let acks = 0;
  let sentClock = 0;
  let sentCount = 0;
  const writer = await openMember(door, {
    onUpdate: () => undefined,
    onAck: () => {
      acks += 1;
    },
  });
  const watcher = await openMember(door, {
    onUpdate: (payload) => {
      const message = watcher.wire.read(payload);
      if (message.type !== "update") return;
      for (const { client, from, size } of readRanges(message.update)) {
        if (client === doc.clientID) seen = Math.max(seen, from + size);
      }
    },
  });
  const stopped = await openMember(door, { onUpdate: () => undefined });
  let update: Uint8Array = new Uint8Array();
  doc.on("update", (made: Uint8Array) => {
    update = made;
  });

  function pasteOnce(round: number): void {
    doc.transact(() => {
      text.delete(0, text.length);
      text.insert(0, String.fromCharCode(97 + (round % 26)).repeat(PASTE_BYTES));
    });
    sentClock = Y.getState(doc.store, doc.clientID);
    sentCount += 1;
    writer.socket.send(writer.wire.update(update));
  }
  /** Pastes that the reader has not got, or the server not acked. */
  const underWay = (): number =>
    Math.max((sentClock - seen) / PASTE_BYTES, writer.wire.acks ? sentCount - acks : 0);

  return {
    paste: async (bytes) => {
      const begin = performance.now();
      const perMs = PASTE_BYTES_PER_SECOND / 1000;
      let sent = 0;
      while (sent < bytes && performance.now() - begin < PASTE_DEADLINE_MS) {
        const due = (performance.now() - begin) * perMs;
        while (sent < Math.min(due, bytes) && underWay() < IN_FLIGHT) {
          pasteOnce(sentCount);
          sent += PASTE_BYTES;
        }
        if (writer.closedBecause() !== undefined) throw new Error(`pasting: ${writer.closedBecause()}`);
        await sleep(1);
      }
      while (underWay() > 0 && performance.now() - begin < PASTE_DEADLINE_MS) await sleep(5);
      if (underWay() > 0) throw new Error("pasting: not everything came through in time");
      return { ms: performance.now() - begin };
    },
    stopReader: () => {
      stopped.socket.stopReading();
    },
    closed: () => stopped.closedBecause(),
    close: () => {
      for (const { socket } of [writer, watcher, stopped]) socket.close();
    },
  };
}
