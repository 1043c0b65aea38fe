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
async function openWhole(
  door: Door,
  complete: (doc: Y.Doc) => boolean,
): Promise<Opened & { readonly member: Member }> {
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
  return {
    member,
    ms: doneMs,
    bytesIn: member.socket.bytesIn(),
    letters: doc.getText(FIELD).length,
    clocks: sum(Y.decodeStateVector(Y.encodeStateVector(doc)).values()),
  };
}

const IN_FLIGHT = 16;

/** Sends with few updates under way where there are acks; resolves when all are acked. */
async function sendAcked(door: Door, updates: readonly Uint8Array[]): Promise<Member> {
  const count = { sent: 0, acks: 0, refused: 0 };
  const member = await openMember(door, {
    onUpdate: () => undefined,
    onAck: (applied) => {
      count[applied ? "acks" : "refused"] += 1;
    },
  });
  const deadline = performance.now() + OPEN_DEADLINE_MS;
  const atMost = async (underWay: number): Promise<void> => {
    const waits = (): boolean => member.wire.acks && count.sent - count.acks > underWay;
    while (waits() && performance.now() < deadline && count.refused === 0) await sleep(1);
    const closed = member.closedBecause();
    if (closed !== undefined || waits()) throw new Error(`seeding: ${JSON.stringify({ ...count, closed })}`);
  };
  for (const update of updates) {
    member.socket.send(member.wire.update(update));
    count.sent += 1;
    await atMost(IN_FLIGHT);
  }
  await atMost(0);
  return member;
}

/** Writes the material into an empty document; resolves when another client has got it all. */
export async function seed(door: Door, material: Material): Promise<Seeded> {
  const built = build(material);
  const author = await sendAcked(door, built.updates);
  const check = await openWhole(door, (doc) => doc.getText(FIELD).length === built.letters);
  check.member.socket.close();
  author.socket.close();
  if (check.clocks !== built.clocks)
    throw new Error(`seeding: ${check.clocks} of ${built.clocks} clocks arrived`);
  return { stateBytes: built.stateBytes, letters: built.letters };
}

/**
 * Opens the document `times` times, the earlier clients staying. `letters`: what the whole document has; undefined takes
 * what the server's first answer brings.
 */
export async function open(door: Door, letters: number | undefined, times: number): Promise<Opened[]> {
  const opened = [];
  while (opened.length < times) {
    opened.push(
      await openWhole(door, (doc) => letters === undefined || doc.getText(FIELD).length === letters),
    );
  }
  for (const { member } of opened) member.socket.close();
  return opened.map(({ ms, bytesIn, letters: found, clocks }) => ({ ms, bytesIn, letters: found, clocks }));
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
  const wire = createWire(door.protocol, door.document);
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
      const message = wire.read(payload);
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
    writer.socket.send(wire.update(update));
  }
  /** Pastes that the reader has not got, or the server not acked. */
  const underWay = (): number => Math.max((sentClock - seen) / PASTE_BYTES, wire.acks ? sentCount - acks : 0);

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
