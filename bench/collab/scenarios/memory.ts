import { sleep } from "../generator/fleet.ts";
import { rssKb } from "../measure/proc.ts";
import { onStage } from "./scenario.ts";
import type { Cell, Round, Scenario, Stage, Values } from "./scenario.ts";

/** Scenarios 7 and 8: memory under a reader that stops, and of connections that do nothing. */

const RSS_POLL_MS = 100;
const MB_IN_KB = 1024;
const MAX_CONTROL_PHASES = 4;
/** A later control phase is this part of the first. */
const CONTROL_PART = 2;
const CALM_MB = 4;

/** The highest resident size while the work goes on. */
async function peakMb(pid: number, work: Promise<unknown>): Promise<number> {
  let peak = rssKb(pid);
  const timer = setInterval(() => {
    peak = Math.max(peak, rssKb(pid));
  }, RSS_POLL_MS);
  try {
    await work;
  } finally {
    clearInterval(timer);
  }
  return Math.max(peak, rssKb(pid)) / MB_IN_KB;
}

/** Everybody reads, until more of the same traffic raises the peak no further: what comes then is the stopped reader's. */
async function controlMb({ server, generator }: Stage, bytes: number): Promise<number> {
  let peak = await peakMb(server.pid, generator.call("paste", bytes));
  for (let phase = 1; phase < MAX_CONTROL_PHASES; phase += 1) {
    const next = await peakMb(server.pid, generator.call("paste", bytes / CONTROL_PART));
    if (next - peak < CALM_MB) return Math.max(peak, next);
    peak = next;
  }
  return peak;
}

async function pastePast({ peer, pace }: Round): Promise<Values> {
  return await onStage(peer, false, async (stage) => {
    const { server, generator } = stage;
    const [door] = await server.createDoors(1);
    if (door === undefined) throw new Error("no document");
    await generator.call("openPaster", door);
    const control = await controlMb(stage, pace.stoppedBytes);
    await generator.call("stopReader");
    const stopped = await peakMb(server.pid, generator.call("paste", pace.stoppedBytes));
    return {
      growth: Math.max(0, stopped - control),
      control,
      stopped,
      megabytes: pace.stoppedBytes / 2 ** 20,
    };
  });
}

export const stoppedReader: Scenario = {
  name: "stopped-reader",
  title: "A reader that stops, while pastes of 16 KB go by",
  cells: () => [
    {
      name: "one document, one stopped reader of two",
      metrics: [
        { key: "growth", label: "growth of peak RSS, MB (goal: 8)", better: "lower" },
        { key: "control", label: "peak RSS with everybody reading, MB", better: "info" },
        { key: "stopped", label: "peak RSS with one stopped, MB", better: "info" },
        { key: "megabytes", label: "MB that went by", better: "info" },
      ],
      measure: pastePast,
    },
  ],
};

const CONNECTIONS = 2000;
const CONNECTIONS_QUICK = 400;
const STEADY_POLL_MS = 500;
const STEADY_KB = 256;
const STEADY_TIMES = 4;
const STEADY_DEADLINE_MS = 15_000;

/** Resident size once it has stopped moving, or at the deadline. */
async function steadyKb(pid: number): Promise<number> {
  const deadline = performance.now() + STEADY_DEADLINE_MS;
  let last = rssKb(pid);
  let calm = 0;
  while (calm < STEADY_TIMES && performance.now() < deadline) {
    await sleep(STEADY_POLL_MS);
    const now = rssKb(pid);
    calm = Math.abs(now - last) < STEADY_KB ? calm + 1 : 0;
    last = now;
  }
  return last;
}

interface Idle {
  readonly documents: number;
  readonly clients: number;
}

async function idle(round: Round, { documents, clients }: Idle): Promise<Values> {
  return await onStage(round.peer, false, async ({ server, generator }) => {
    const doors = await server.createDoors(documents);
    const before = await steadyKb(server.pid);
    const plan = { clientsPerDocument: clients, writersPerDocument: 0, seed: round.seed };
    const { ms } = await generator.call("openFleet", { doors, ...plan });
    const after = await steadyKb(server.pid);
    const connections = documents * clients;
    return { perConnectionKb: (after - before) / connections, beforeKb: before, connections, openMs: ms };
  });
}

function idleCell(name: string, shape: Idle): Cell {
  return {
    name,
    metrics: [
      { key: "perConnectionKb", label: "KB per connection", better: "lower", goal: 0.5 },
      { key: "connections", label: "connections", better: "info" },
      { key: "openMs", label: "ms to open them all", better: "info" },
    ],
    measure: (round) => idle(round, shape),
  };
}

export const idleConnections: Scenario = {
  name: "idle",
  title: "Connections that do nothing",
  cells: ({ quick }) => {
    const count = quick ? CONNECTIONS_QUICK : CONNECTIONS;
    return [
      idleCell("one document for all", { documents: 1, clients: count }),
      idleCell("a document each", { documents: count, clients: 1 }),
    ];
  },
};
