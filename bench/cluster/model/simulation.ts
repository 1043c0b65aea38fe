import { DEFAULT_LIMITS } from "@scriptorium/collab";
import type { BusCounts } from "./bus.ts";
import type { Converged } from "./convergence.ts";
import type { Routing, Workload } from "./workload.ts";
import { WORKLOAD } from "./workload.ts";
import { World } from "./world.ts";
import type { WorldPlan } from "./world.ts";

export interface SimulationPlan {
  readonly nodes: number;
  /** What differs from the workload that docs/scaling.md describes. */
  readonly workload: Partial<Workload>;
  readonly routing: Routing;
  readonly seed: number;
  readonly lostShare: number;
  /** Of one node; undefined as it is: 5,000, but 20,000 for all together (collab/src/cluster/cluster.ts). */
  readonly joinsPerSecond: number | undefined;
  /** Undefined as it is: between two answers for a document. */
  readonly replyPauseMs: number | undefined;
  readonly readingsPerSecond: number;
  readonly measureMs: number;
  /** Longest wait for convergence after each fault. */
  readonly patienceMs: number;
}

/** While nothing is wrong, each second. */
export interface Steady {
  readonly people: number;
  readonly seats: number;
  readonly sharedSeats: number;
  readonly rows: number;
  readonly published: number;
  readonly delivered: number;
  readonly megabytesIn: number;
  readonly megabytesOut: number;
  readonly readings: number;
  readonly byKind: Readonly<BusCounts["byKind"]>;
}

export interface Fault {
  readonly name: string;
  readonly converged: Converged;
  /** Whether nothing of it is left to do; the counts are up to then. */
  readonly calm: boolean;
  readonly readings: number;
  readonly published: number;
  readonly dropped: number;
  readonly seconds: number;
}

export interface SimulationResult {
  readonly steady: Steady;
  readonly faults: readonly Fault[];
  /** Documents that lack something after everybody has stopped. */
  readonly apart: number;
  readonly violations: readonly string[];
}

/** Of a Redis 7 that has much to do at a time, rounded up; what it took here is in docs/scaling.md. */
const REDIS_COST = { publishMs: 0.003, deliveryMs: 0.0005 } as const;
/** server/src/bus: 8 MB of messages without an answer, each of which costs its bytes and 1.4 KB. */
const MOST_UNANSWERED = 5_300;
const WARM_MS = 2_000;
const DOWN_MS = 3_000;
const CUT_MS = 10_000;
const SETTLE_MS = 15_000;

function worldPlan(plan: SimulationPlan): WorldPlan {
  const workload: Workload = { ...WORKLOAD, ...plan.workload };
  return {
    nodes: plan.nodes,
    workload,
    routing: plan.routing,
    seed: plan.seed,
    bus: {
      ...REDIS_COST,
      latencyMs: 1,
      lostShare: plan.lostShare,
      lateShare: 0.01,
      mostUnanswered: MOST_UNANSWERED,
    },
    readingsPerSecond: plan.readingsPerSecond,
    limits: {
      ...DEFAULT_LIMITS,
      joinsPerSecond: plan.joinsPerSecond ?? Math.min(5_000, Math.floor(2_000 / plan.nodes) * 10),
      replyPauseMs: plan.replyPauseMs ?? DEFAULT_LIMITS.replyPauseMs,
    },
  };
}

function measureSteady(world: World, ms: number): Steady {
  world.pass(WARM_MS);
  world.bus.startCounting();
  const { readings } = world.store;
  const rows = world.typedRows;
  world.pass(ms);
  const { counts } = world.bus;
  const perSecond = (count: number): number => (count * 1000) / ms;
  const { all, shared } = world.seats();
  return {
    people: world.people,
    seats: all,
    sharedSeats: shared,
    rows: perSecond(world.typedRows - rows),
    published: perSecond(counts.published),
    delivered: perSecond(counts.delivered),
    megabytesIn: perSecond(counts.bytesIn) / 1e6,
    megabytesOut: perSecond(counts.bytesOut) / 1e6,
    readings: perSecond(world.store.readings - readings),
    byKind: {
      join: perSecond(counts.byKind.join),
      leave: perSecond(counts.byKind.leave),
      digest: perSecond(counts.byKind.digest),
      rows: perSecond(counts.byKind.rows),
      presence: perSecond(counts.byKind.presence),
      beat: perSecond(counts.byKind.beat),
      probe: perSecond(counts.byKind.probe),
    },
  };
}

/** What is typed until the fault has ended is followed until everybody has it. */
function measureFault(world: World, plan: SimulationPlan, [name, happen]: [string, () => void]): Fault {
  world.bus.startCounting();
  const { readings } = world.store;
  const begin = world.calendar.now;
  happen();
  const converged = world.converge(plan.patienceMs);
  const calm = world.calmDown(plan.patienceMs);
  return {
    name,
    converged,
    calm,
    readings: world.store.readings - readings,
    published: world.bus.counts.published,
    dropped: world.bus.counts.dropped,
    seconds: (world.calendar.now - begin) / 1000,
  };
}

/** A calm time, then a Redis that restarts, a node that is cut off from it, a node that dies, and calm again. */
export function simulate(plan: SimulationPlan): SimulationResult {
  const world = new World(worldPlan(plan));
  const steady = measureSteady(world, plan.measureMs);
  const faults: [string, () => void][] = [
    [`Redis restarts, ${DOWN_MS / 1000} s`, () => world.restartRedis(DOWN_MS)],
    [`one node cut off from Redis, ${CUT_MS / 1000} s`, () => world.cutOff(0, CUT_MS)],
    ["kill -9 of one node", () => world.crash(1)],
  ];
  // A node that is alone has nobody to be apart from.
  const measured = (plan.nodes > 1 ? faults : []).map((fault) => measureFault(world, plan, fault));
  const apart = world.settle(SETTLE_MS);
  return { steady, faults: measured, apart, violations: world.violations };
}
