import { createHistogram } from "../measure/histogram.ts";
import { cpuSeconds, familyCpuSeconds, rssKb } from "../measure/proc.ts";
import { createRandom, sum } from "../measure/stats.ts";
import { cursor } from "../wire/typing.ts";
import { startActors, startFlood } from "./load.ts";
import type { Actor, Load } from "./load.ts";
import { openMember } from "./member.ts";
import type { Door, Member } from "./member.ts";
import { createRoom } from "./room.ts";
import type { Reader, Room, RoomCounters, Verdict } from "./room.ts";

/** Many clients on one document or many, the load they make, and what is counted. */

export interface FleetPlan {
  /** Several with the same document are its doors on several nodes: its clients take them in turn. */
  readonly doors: readonly Door[];
  readonly clientsPerDocument: number;
  readonly writersPerDocument: number;
  readonly seed: number;
}

export interface TypingLoad {
  readonly updatesPerSecond: number;
  /** Cursor moves per second and writer; 0 for none. */
  readonly cursorsPerSecond: number;
}

/** Processes whose cost is read, the moment the rest is. */
export interface Watched {
  readonly servers: readonly number[];
  /** Apart from the servers' cost, by name: with all that they started. */
  readonly beside?: Readonly<Record<string, readonly number[]>>;
}

export interface FloodLoad {
  readonly updatesPerSecond: number;
  readonly maxInFlight: number;
}

/** Running totals; two of them make a window. */
export interface Mark {
  readonly atMs: number;
  readonly serverCpuSeconds: number;
  readonly serverRssKb: number;
  readonly besideCpuSeconds: Readonly<Record<string, number>>;
  readonly generatorCpuSeconds: number;
  readonly sent: number;
  readonly deliveries: number;
  readonly farDeliveries: number;
  readonly cursorDeliveries: number;
  readonly acks: number;
  readonly refusedAcks: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly closed: number;
  /** Of deliveries since the mark before this one. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The same for those from one node to another. */
  readonly farP50Ms: number;
  readonly farP99Ms: number;
  readonly farCount: number;
  /** From sending to the author's ack; with ours that is the time until the edit is on disk. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
}

export type FleetVerdict = Verdict & {
  /** Clients whose connection ended, and why the first one did. */
  readonly closed: number;
  readonly closedBecause: string | undefined;
  readonly acks: number;
  /** From the end of the load until everything was delivered and acked, or until the deadline. */
  readonly settleMs: number;
};

export interface Fleet {
  type(load: TypingLoad): void;
  flood(load: FloodLoad): void;
  mark(watched: Watched): Mark;
  /** Stops the load and waits, at most this long, until everybody has everything. */
  settle(timeoutMs: number): Promise<FleetVerdict>;
  close(): void;
}

const OPEN_AT_ONCE = 64;
/** Clients per document whose latency is taken, and whose stream is replayed, and documents where that is done. */
const TIMED_CLIENTS = 64;
const SAMPLED_CLIENTS = 2;
const SAMPLED_DOCUMENTS = 50;
const SETTLE_POLL_MS = 50;

interface Seat {
  readonly room: Room;
  readonly reader: Reader;
  readonly door: Door;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs `work` over all items, so many at a time. */
async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: OPEN_AT_ONCE }, worker));
}

type Doors = [Door, ...Door[]];

function byDocument(doors: readonly Door[]): Doors[] {
  const found = new Map<string, Doors>();
  for (const door of doors) {
    const others = found.get(door.document);
    if (others === undefined) found.set(door.document, [door]);
    else others.push(door);
  }
  return [...found.values()];
}

export async function openFleet(plan: FleetPlan): Promise<Fleet> {
  const random = createRandom(plan.seed);
  const latency = createHistogram();
  const farLatency = createHistogram();
  const ackLatency = createHistogram();
  const counters: RoomCounters & { acks: number; refused: number; sent: number } = {
    deliveries: 0,
    farDeliveries: 0,
    cursorDeliveries: 0,
    acks: 0,
    refused: 0,
    sent: 0,
  };
  const rooms: Room[] = [];
  const seats: Seat[] = [];
  const members: Member[] = [];
  const writers: { seat: Seat; member: Member; author: number }[] = [];
  const loads: Load[] = [];
  let live = false;

  for (const [index, doors] of byDocument(plan.doors).entries()) {
    const { protocol, document } = doors[0];
    const room = createRoom({ protocol, document, latency, farLatency, counters });
    rooms.push(room);
    for (let place = 0; place < plan.clientsPerDocument; place += 1) {
      const node = place % doors.length;
      const author = place < plan.writersPerDocument ? 1 + Math.floor(random() * 0xffff_fffe) : undefined;
      if (author !== undefined) room.addWriter(author, node);
      // The last places, so that the sample holds pure readers where there are any.
      const sampled = index < SAMPLED_DOCUMENTS && place >= plan.clientsPerDocument - SAMPLED_CLIENTS;
      const timed = place < TIMED_CLIENTS || sampled;
      const reader = room.addReader({ author, node, timed, sampled });
      seats.push({ room, door: doors[node] ?? doors[0], reader });
    }
  }

  async function sit(seat: Seat): Promise<void> {
    const { room, reader, door } = seat;
    let acked = 0;
    const member = await openMember(door, {
      onUpdate: (payload) => {
        if (live) room.receive(reader, payload, performance.now());
      },
      onAwareness: (payload) => {
        room.receiveAwareness(reader, payload);
      },
      onAck: (applied) => {
        // Acks come in the order of the updates, one each.
        const sentAt = reader.author === undefined ? undefined : room.sentAt(reader.author, acked);
        if (sentAt !== undefined) ackLatency.add(performance.now() - sentAt);
        acked += 1;
        counters[applied ? "acks" : "refused"] += 1;
      },
    });
    members.push(member);
    if (reader.author !== undefined) writers.push({ seat, member, author: reader.author });
  }

  await inTurns(seats, sit);
  live = true;

  const typeOnce =
    ({ seat, member, author }: (typeof writers)[number]) =>
    (now: number): void => {
      counters.sent += 1;
      member.socket.send(seat.room.type(author, now));
    };

  function cursorActor({ seat, member, author }: (typeof writers)[number], everyMs: number): Actor {
    let clock = 0;
    return {
      everyMs,
      act: () => {
        clock += 1;
        seat.room.noteCursor(author);
        member.socket.send(member.wire.awareness(cursor(author, clock, clock)));
      },
    };
  }

  function stopLoads(): void {
    for (const load of loads.splice(0)) load.stop();
  }

  const closedMembers = (): Member[] => members.filter((member) => member.closedBecause() !== undefined);

  function verdict(settleMs: number): FleetVerdict {
    const verdicts = rooms.map((room) => room.verdict());
    const total = (field: keyof Verdict): number => sum(verdicts.map((each) => each[field]));
    const closed = closedMembers();
    return {
      sent: total("sent"),
      behind: total("behind"),
      missing: total("missing"),
      different: total("different"),
      replayed: total("replayed"),
      cursorsSent: total("cursorsSent"),
      cursorsSeen: total("cursorsSeen"),
      closed: closed.length,
      closedBecause: closed[0]?.closedBecause(),
      acks: counters.acks,
      settleMs,
    };
  }

  return {
    type: ({ updatesPerSecond, cursorsPerSecond }) => {
      const typing = writers.map((writer) => ({ act: typeOnce(writer), everyMs: 1000 / updatesPerSecond }));
      loads.push(startActors(typing, random));
      if (cursorsPerSecond === 0) return;
      loads.push(
        startActors(
          writers.map((writer) => cursorActor(writer, 1000 / cursorsPerSecond)),
          random,
        ),
      );
    },
    flood: ({ updatesPerSecond, maxInFlight }) => {
      stopLoads();
      const inFlight = (): number => rooms.reduce((total, room) => total + room.inFlight(), 0);
      loads.push(
        startFlood({ writers: writers.map(typeOnce), perSecond: updatesPerSecond, inFlight, maxInFlight }),
      );
    },
    mark: ({ servers, beside = {} }) => {
      const mark: Mark = {
        atMs: performance.now(),
        serverCpuSeconds: sum(servers.map(cpuSeconds)),
        serverRssKb: sum(servers.map(rssKb)),
        besideCpuSeconds: Object.fromEntries(
          Object.entries(beside).map(([name, pids]) => [name, familyCpuSeconds(pids)]),
        ),
        generatorCpuSeconds: cpuSeconds(process.pid),
        sent: counters.sent,
        deliveries: counters.deliveries,
        farDeliveries: counters.farDeliveries,
        cursorDeliveries: counters.cursorDeliveries,
        acks: counters.acks,
        refusedAcks: counters.refused,
        bytesIn: members.reduce((total, { socket }) => total + socket.bytesIn(), 0),
        bytesOut: members.reduce((total, { socket }) => total + socket.bytesOut(), 0),
        closed: closedMembers().length,
        p50Ms: latency.percentile(0.5),
        p99Ms: latency.percentile(0.99),
        farP50Ms: farLatency.percentile(0.5),
        farP99Ms: farLatency.percentile(0.99),
        farCount: farLatency.count(),
        ackP50Ms: ackLatency.percentile(0.5),
        ackP99Ms: ackLatency.percentile(0.99),
      };
      latency.clear();
      farLatency.clear();
      ackLatency.clear();
      return mark;
    },
    settle: async (timeoutMs) => {
      stopLoads();
      const begin = performance.now();
      const passed = (): number => performance.now() - begin;
      const acked = (): boolean => !(members[0]?.wire.acks ?? false) || counters.acks >= counters.sent;
      const settled = (): boolean => acked() && rooms.every((room) => room.settled());
      while (passed() < timeoutMs && !settled()) await sleep(SETTLE_POLL_MS);
      return verdict(passed());
    },
    close: () => {
      stopLoads();
      for (const { socket } of members) socket.close();
    },
  };
}
