import { sleep } from "../generator/fleet.ts";
import { between, demandComplete, onStage } from "./scenario.ts";
import type { Cell, Metric, Pace, Round, Scenario, Values } from "./scenario.ts";

/** Scenarios 1 to 3: what a delivery costs, how many there can be, and many documents at once. */

const COST: readonly Metric[] = [
  { key: "p50Ms", label: "p50 ms", better: "lower" },
  { key: "p99Ms", label: "p99 ms", better: "lower" },
  { key: "bytesPerDelivery", label: "bytes in per delivery", better: "lower" },
  { key: "ackP50Ms", label: "ack p50 ms (ours: on disk)", better: "info" },
  { key: "ackP99Ms", label: "ack p99 ms", better: "info" },
  { key: "settleMs", label: "ms until all delivered and acked after the load", better: "info" },
  { key: "deliveriesPerSecond", label: "thousand deliveries per s", better: "info" },
  { key: "cores", label: "server cores", better: "info" },
  { key: "generatorCores", label: "generator cores", better: "info" },
];

/** Below 100 the generator did not get its share of the machine. */
const TYPED: Metric = { key: "typedShare", label: "typed, % of planned", better: "info" };

interface Typing {
  readonly documents: number;
  readonly clients: number;
  readonly writers: number;
  readonly updatesPerSecond: number;
  readonly cursorsPerSecond: number;
}

/** A steady load: warm-up, window, and then everything must have arrived everywhere. */
async function typeSteadily(round: Round, typing: Typing): Promise<Values> {
  return await onStage(round.peer, false, async ({ server, generator }) => {
    const doors = await server.createDoors(typing.documents);
    await generator.call("openFleet", {
      doors,
      clientsPerDocument: typing.clients,
      writersPerDocument: typing.writers,
      seed: round.seed,
    });
    await generator.call("type", typing);
    await sleep(round.pace.warmMs);
    const from = await generator.call("mark", { servers: [server.pid] });
    await sleep(round.pace.windowMs);
    const to = await generator.call("mark", { servers: [server.pid] });
    const verdict = await generator.call("settle", round.pace.settleMs);
    const sent = to.sent - from.sent;
    const share = ((to.deliveries - from.deliveries) / (sent * (typing.clients - 1))) * 100;
    const planned = typing.documents * typing.writers * typing.updatesPerSecond * (to.atMs - from.atMs);
    // Of a server that cannot keep up the share tells; of one that can, everything is asked.
    if (share > 90) demandComplete(verdict, round.peer.acks);
    return {
      ...between(from, to),
      share,
      typedShare: (sent / (planned / 1000)) * 100,
      cursorShare: (verdict.cursorsSeen / verdict.cursorsSent) * 100,
      settleMs: verdict.settleMs,
    };
  });
}

const MODERATE = [
  { clients: 50, writers: 20, updatesPerSecond: 5, goal: 0.65 },
  { clients: 200, writers: 15, updatesPerSecond: 4, goal: 0.8 },
  { clients: 1000, writers: 10, updatesPerSecond: 2.5, goal: 0.8 },
] as const;
const CURSORS_PER_SECOND = 3;
const CURSOR_GOAL = 0.7;

function moderateCell(load: (typeof MODERATE)[number], cursorsPerSecond: number): Cell {
  const withCursors = cursorsPerSecond > 0;
  const goal = withCursors ? CURSOR_GOAL : load.goal;
  const cursorShare: Metric = { key: "cursorShare", label: "cursor moves passed on, %", better: "info" };
  return {
    name: `N=${load.clients}${withCursors ? ", with cursors" : ""}`,
    metrics: [
      { key: "cpuPerMillion", label: "CPU s per 1M deliveries", better: "lower", goal },
      ...COST,
      TYPED,
      ...(withCursors ? [cursorShare] : []),
    ],
    measure: (round) => typeSteadily(round, { documents: 1, ...load, cursorsPerSecond }),
  };
}

export const moderate: Scenario = {
  name: "moderate",
  title: "One document, moderate typing",
  cells: ({ quick }) =>
    (quick ? MODERATE.slice(0, 2) : MODERATE).flatMap((load) => [
      moderateCell(load, 0),
      moderateCell(load, CURSORS_PER_SECOND),
    ]),
};

/** Updates per second to begin with, near what the slowest peer can take, and the factor from step to step. */
const FLOODS = [
  { clients: 50, first: 2000, goal: 2.5 },
  { clients: 200, first: 600, goal: 2 },
  { clients: 1000, first: 300, goal: 1.15 },
] as const;
const STEP = 1.5;
const MAX_STEPS = 12;
/** Growth below which a step counts as none; two in a row end the climb. */
const GROWTH = 1.05;
/** Updates under way at most, as a time's worth of the offered load: beyond, the flood waits. */
const MAX_BEHIND_SECONDS = 0.1;
/** Of the clients these only read, so that there is always somebody whose stream holds everything. */
const PURE_READERS = 2;

async function climb(round: Round, load: (typeof FLOODS)[number]): Promise<Values> {
  return await onStage(round.peer, false, async ({ server, generator }) => {
    const doors = await server.createDoors(1);
    await generator.call("openFleet", {
      doors,
      clientsPerDocument: load.clients,
      writersPerDocument: load.clients - PURE_READERS,
      seed: round.seed,
    });
    await generator.call("flood", { updatesPerSecond: load.first, maxInFlight: load.first });
    await sleep(round.pace.warmMs);
    let best: Values = { deliveriesPerSecond: 0 };
    let flat = 0;
    for (let step = 0; step < MAX_STEPS && flat < 2; step += 1) {
      const offered = load.first * STEP ** step;
      const maxInFlight = Math.max(256, offered * MAX_BEHIND_SECONDS);
      await generator.call("flood", { updatesPerSecond: offered, maxInFlight });
      await sleep(round.pace.stepMs / 3);
      const from = await generator.call("mark", { servers: [server.pid] });
      await sleep(round.pace.stepMs);
      const values: Values = {
        ...between(from, await generator.call("mark", { servers: [server.pid] })),
        offered,
      };
      const grown = (values["deliveriesPerSecond"] ?? 0) / (best["deliveriesPerSecond"] ?? 0);
      flat = grown > GROWTH ? 0 : flat + 1;
      if (grown > 1) best = values;
    }
    const verdict = await generator.call("settle", round.pace.settleMs);
    demandComplete(verdict, round.peer.acks);
    return { ...best, settleMs: verdict.settleMs };
  });
}

export const saturation: Scenario = {
  name: "saturation",
  title: "One document, everybody types, as much as the server takes",
  cells: ({ quick }) =>
    (quick ? FLOODS.slice(0, 2) : FLOODS).map((load) => ({
      name: `N=${load.clients}`,
      metrics: [
        {
          key: "deliveriesPerCpuSecond",
          label: "thousand deliveries per CPU s",
          better: "higher",
          goal: load.goal,
        },
        { key: "offered", label: "updates per s offered at best", better: "info" },
        ...COST,
      ],
      measure: (round) => climb(round, load),
    })),
};

const PAIRS = [
  { updatesPerSecond: 2, goal: 0.5 },
  { updatesPerSecond: 5, goal: undefined },
] as const;

const pairDocuments = ({ quick }: Pace): number => (quick ? 200 : 2000);

export const pairs: Scenario = {
  name: "pairs",
  title: "Many documents, two people each",
  cells: (pace) =>
    PAIRS.map(({ updatesPerSecond, goal }) => ({
      name: `${pairDocuments(pace)} documents, ${updatesPerSecond} updates/s each person`,
      metrics: [
        { key: "cores", label: "server cores", better: "lower", ...(goal === undefined ? {} : { goal }) },
        { key: "share", label: "delivered, % of typed", better: "higher" },
        ...COST.filter(({ key }) => key !== "cores"),
        TYPED,
        { key: "cpuPerMillion", label: "CPU s per 1M deliveries", better: "lower" },
      ],
      measure: (round) =>
        typeSteadily(round, {
          documents: pairDocuments(pace),
          clients: 2,
          writers: 2,
          updatesPerSecond,
          cursorsPerSecond: 0,
        }),
    })),
};
