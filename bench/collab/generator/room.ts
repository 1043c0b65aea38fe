import * as Y from "yjs";
import type { Histogram } from "../measure/histogram.ts";
import { sum } from "../measure/stats.ts";
import { createWire } from "../wire/protocol.ts";
import type { ProtocolName } from "../wire/protocol.ts";
import { FIELD, createTyper, readAwareness, readRanges } from "../wire/typing.ts";
import type { Range, Typer } from "../wire/typing.ts";

/**
 * One document as the generator sees it: who typed what and when, and what has reached whom. A broadcast is the same
 * bytes for everybody on a node, so it is parsed once and recognised by comparison after that; a client whose stream
 * departs from its node's is counted for itself.
 */

interface Writer {
  readonly typer: Typer;
  readonly node: number;
  /** When each letter was sent; its length is the clock of the next one. */
  readonly sentAt: number[];
}

/** A distinct message with what it brought beyond those before it. */
interface Entry {
  readonly payload: Buffer;
  readonly fresh: readonly Range[];
  readonly letters: number;
  /** Letters by author, for not counting the author's own echo. */
  readonly byAuthor: ReadonlyMap<number, number>;
  /** Letters whose author is on another node. */
  readonly farLetters: number;
}

/** What the clients of one node are sent, all of them alike. */
interface Stream {
  readonly entries: Entry[];
  readonly clocks: Map<number, number>;
}

export interface Reader {
  /** Yjs client id when this client types too. */
  readonly author: number | undefined;
  /** Where it is connected, by place; 0 where there is one node. */
  readonly node: number;
  readonly timed: boolean;
  /** Keeps what it is sent, so that it can be replayed at the end. */
  readonly sampled: boolean;
  /** Messages of its node's stream taken so far. */
  at: number;
  /** Set once the client has left its node's stream: what it has of whom, and what came since. */
  own: { clocks: Map<number, number>; kept: Buffer[] } | undefined;
}

export interface Verdict {
  readonly sent: number;
  /** Clients that miss letters, and letters missing in all. */
  readonly behind: number;
  readonly missing: number;
  /** Sampled clients whose replayed document differs from what was typed. */
  readonly different: number;
  readonly replayed: number;
  readonly cursorsSent: number;
  readonly cursorsSeen: number;
}

export interface RoomCounters {
  deliveries: number;
  /** Of these, from a client of one node to a client of another. */
  farDeliveries: number;
  cursorDeliveries: number;
}

export interface RoomDeps {
  readonly protocol: ProtocolName;
  readonly document: string;
  readonly latency: Histogram;
  /** Of deliveries from one node to another. */
  readonly farLatency: Histogram;
  readonly counters: RoomCounters;
}

export interface Room {
  addWriter(client: number, node: number): void;
  addReader(reader: Pick<Reader, "author" | "node" | "timed" | "sampled">): Reader;
  /** The author's next letter; `now` is when it is sent. */
  type(author: number, now: number): Uint8Array;
  /** When the author's letter with this clock was sent. */
  sentAt(author: number, clock: number): number | undefined;
  noteCursor(author: number): void;
  receive(reader: Reader, payload: Buffer, now: number): void;
  receiveAwareness(reader: Reader, payload: Buffer): void;
  /** Letters sent and not yet seen by any client. */
  inFlight(): number;
  /** Whether everybody has everything. */
  settled(): boolean;
  verdict(): Verdict;
}

const lengthOf = (clocks: ReadonlyMap<number, number>): number => sum(clocks.values());

/** The part of the ranges that is new to these clocks, which it moves on. */
function take(clocks: Map<number, number>, ranges: readonly Range[]): Range[] {
  const fresh: Range[] = [];
  for (const range of ranges) {
    const known = clocks.get(range.client) ?? 0;
    const end = range.from + range.size;
    // A gap is not taken: the letters beyond it cannot be shown yet, and count when they come whole.
    if (end <= known || range.from > known) continue;
    fresh.push({ client: range.client, from: known, size: end - known });
    clocks.set(range.client, end);
  }
  return fresh;
}

export function createRoom(deps: RoomDeps): Room {
  const { latency, farLatency, counters } = deps;
  const wire = createWire(deps.protocol, deps.document);
  const writers = new Map<number, Writer>();
  const readers: Reader[] = [];
  const streams = new Map<number, Stream>();
  const cursors = { sent: new Map<number, number>(), seen: new Map<Reader, Map<number, number>>() };
  /** What at least one client has, for bounding what is under way. */
  const seenClocks = new Map<number, number>();
  let sent = 0;
  let seen = 0;

  function rangesOf(payload: Buffer): Range[] {
    const message = wire.read(payload);
    return message.type === "update" ? readRanges(message.update) : [];
  }

  function noteSeen(ranges: readonly Range[]): void {
    for (const { size } of take(seenClocks, ranges)) seen += size;
  }

  function streamOf({ node }: Pick<Reader, "node">): Stream {
    const known = streams.get(node);
    if (known !== undefined) return known;
    const stream: Stream = { entries: [], clocks: new Map() };
    streams.set(node, stream);
    return stream;
  }

  /** Whether what the author types must come to the reader from another node. */
  const isFar = (author: number, reader: Pick<Reader, "node">): boolean =>
    (writers.get(author)?.node ?? reader.node) !== reader.node;

  function append(reader: Reader, payload: Buffer): Entry {
    const stream = streamOf(reader);
    const fresh = take(stream.clocks, rangesOf(payload));
    noteSeen(fresh);
    const byAuthor = new Map<number, number>();
    for (const { client, size } of fresh) byAuthor.set(client, (byAuthor.get(client) ?? 0) + size);
    const farLetters = sum(fresh.map(({ client, size }) => (isFar(client, reader) ? size : 0)));
    const entry = {
      payload: Buffer.from(payload),
      fresh,
      letters: lengthOf(byAuthor),
      byAuthor,
      farLetters,
    };
    stream.entries.push(entry);
    return entry;
  }

  function time(reader: Reader, fresh: readonly Range[], now: number): void {
    for (const { client, from, size } of fresh) {
      const sentAt = writers.get(client)?.sentAt;
      if (client === reader.author || sentAt === undefined) continue;
      const far = isFar(client, reader);
      for (let clock = from; clock < from + size; clock += 1) {
        const ms = now - (sentAt[clock] ?? now);
        latency.add(ms);
        if (far) farLatency.add(ms);
      }
    }
  }

  function clocksUpTo(reader: Reader): Map<number, number> {
    const clocks = new Map<number, number>();
    for (const entry of streamOf(reader).entries.slice(0, reader.at)) take(clocks, entry.fresh);
    return clocks;
  }

  /** From now on the client is counted for itself. */
  function leaveStream(reader: Reader): NonNullable<Reader["own"]> {
    reader.own = { clocks: clocksUpTo(reader), kept: [] };
    return reader.own;
  }

  function receiveOwn(reader: Reader, payload: Buffer, now: number): void {
    const own = reader.own ?? leaveStream(reader);
    const fresh = take(own.clocks, rangesOf(payload));
    noteSeen(fresh);
    if (reader.sampled) own.kept.push(Buffer.from(payload));
    for (const { client, size } of fresh) {
      if (client === reader.author) continue;
      counters.deliveries += size;
      if (isFar(client, reader)) counters.farDeliveries += size;
    }
    if (reader.timed) time(reader, fresh, now);
  }

  function clocksOf(reader: Reader): ReadonlyMap<number, number> {
    if (reader.own !== undefined) return reader.own.clocks;
    const { entries, clocks } = streamOf(reader);
    return reader.at === entries.length ? clocks : clocksUpTo(reader);
  }

  function missingOf(reader: Reader): number {
    const { entries, clocks: common } = streamOf(reader);
    if (reader.own === undefined && reader.at === entries.length && lengthOf(common) === sent) return 0;
    const clocks = clocksOf(reader);
    let missing = 0;
    for (const [client, { sentAt }] of writers) {
      if (client !== reader.author) missing += sentAt.length - (clocks.get(client) ?? 0);
    }
    return missing;
  }

  /** Whether what the client was sent, applied to an empty document, gives what was typed. */
  function replayMatches(reader: Reader): boolean {
    const replayed = new Y.Doc();
    const typed = new Y.Doc();
    const messages = [
      ...streamOf(reader)
        .entries.slice(0, reader.at)
        .map((entry) => entry.payload),
      ...(reader.own?.kept ?? []),
    ];
    replayed.transact(() => {
      for (const payload of messages) {
        const message = wire.read(payload);
        if (message.type === "update") Y.applyUpdate(replayed, message.update);
      }
    });
    for (const { typer, sentAt } of writers.values()) {
      if (sentAt.length === 0) continue;
      Y.applyUpdate(typed, typer.whole(sentAt.length));
      // The author has its own letters without being sent them.
      if (typer.client === reader.author) Y.applyUpdate(replayed, typer.whole(sentAt.length));
    }
    return replayed.getText(FIELD).toJSON() === typed.getText(FIELD).toJSON();
  }

  return {
    addWriter: (client, node) => {
      writers.set(client, { typer: createTyper(client), node, sentAt: [] });
    },
    addReader: (wanted) => {
      const reader: Reader = { ...wanted, at: 0, own: undefined };
      readers.push(reader);
      return reader;
    },
    type: (author, now) => {
      const writer = writers.get(author);
      if (writer === undefined) throw new Error(`${author} does not type in ${deps.document}`);
      sent += 1;
      writer.sentAt.push(now);
      return wire.update(writer.typer.update(writer.sentAt.length - 1));
    },
    sentAt: (author, clock) => writers.get(author)?.sentAt[clock],
    noteCursor: (author) => {
      cursors.sent.set(author, (cursors.sent.get(author) ?? 0) + 1);
    },
    receive: (reader, payload, now) => {
      if (reader.own !== undefined) {
        receiveOwn(reader, payload, now);
        return;
      }
      const known = streamOf(reader).entries[reader.at];
      if (
        known !== undefined &&
        !(known.payload.length === payload.length && known.payload.equals(payload))
      ) {
        receiveOwn(reader, payload, now);
        return;
      }
      const entry = known ?? append(reader, payload);
      reader.at += 1;
      const echo = reader.author === undefined ? 0 : (entry.byAuthor.get(reader.author) ?? 0);
      counters.deliveries += entry.letters - echo;
      counters.farDeliveries += entry.farLetters;
      if (reader.timed) time(reader, entry.fresh, now);
    },
    receiveAwareness: (reader, payload) => {
      counters.cursorDeliveries += 1;
      if (!reader.sampled) return;
      const message = wire.read(payload);
      if (message.type !== "awareness") return;
      const clocks = cursors.seen.get(reader) ?? new Map<number, number>();
      cursors.seen.set(reader, clocks);
      for (const { client } of readAwareness(message.update))
        clocks.set(client, (clocks.get(client) ?? 0) + 1);
    },
    inFlight: () => sent - seen,
    settled: () => readers.every((reader) => missingOf(reader) === 0),
    verdict: () => {
      const missing = readers.map(missingOf);
      const sampled = readers.filter((reader) => reader.sampled);
      const others = (reader: Reader, map: ReadonlyMap<number, number>): number =>
        lengthOf(map) - (reader.author === undefined ? 0 : (map.get(reader.author) ?? 0));
      return {
        sent,
        behind: missing.filter((letters) => letters > 0).length,
        missing: sum(missing),
        different: sampled.filter((reader) => !replayMatches(reader)).length,
        replayed: sampled.length,
        cursorsSent: sum(sampled.map((reader) => others(reader, cursors.sent))),
        cursorsSeen: sum(sampled.map((reader) => others(reader, cursors.seen.get(reader) ?? new Map()))),
      };
    },
  };
}
