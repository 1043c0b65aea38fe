import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { simulate } from "./model/simulation.ts";
import type { Fault, SimulationPlan, SimulationResult } from "./model/simulation.ts";

/** The fan-out protocol at a size that no machine here has: docs/scaling.md quotes it. */

const USAGE = `node bench/cluster/simulation.ts [--nodes 100] [--documents 1000000] [--open 0.1]
  [--routing random|by-document] [--joins-per-second n] [--reply-pause ms]
  [--readings-per-second 20000] [--lost 0] [--seconds 5] [--seed 1]
  [--out file.json]`;
/** A million documents and their people; the young ones above all, so that they are not copied again and again. */
const MEMORY = { maxOldGenerationSizeMb: 4_000, maxYoungGenerationSizeMb: 256 } as const;
const PATIENCE_MS = 60_000;

interface Options {
  readonly plans: readonly SimulationPlan[];
  readonly out: string | undefined;
}

const optional = (value: string | undefined): number | undefined =>
  value === undefined ? undefined : Number(value);

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      nodes: { type: "string", default: "100" },
      documents: { type: "string", default: "1000000" },
      open: { type: "string", default: "0.1" },
      routing: { type: "string", default: "" },
      "joins-per-second": { type: "string" },
      "reply-pause": { type: "string" },
      "readings-per-second": { type: "string", default: "20000" },
      lost: { type: "string", default: "0" },
      seconds: { type: "string", default: "5" },
      seed: { type: "string", default: "1" },
      out: { type: "string" },
    },
  });
  const routings = (["random", "by-document"] as const).filter((name) => name.includes(values.routing));
  const base = {
    nodes: Number(values.nodes),
    seed: Number(values.seed),
    lostShare: Number(values.lost),
    joinsPerSecond: optional(values["joins-per-second"]),
    replyPauseMs: optional(values["reply-pause"]),
    readingsPerSecond: Number(values["readings-per-second"]),
    measureMs: Number(values.seconds) * 1000,
    patienceMs: PATIENCE_MS,
  };
  const workload = { documents: Number(values.documents), openShare: Number(values.open) };
  if (routings.length === 0 || [...Object.values(base), ...Object.values(workload)].some(Number.isNaN)) {
    console.error(USAGE);
    process.exit(2);
  }
  return { plans: routings.map((routing) => ({ ...base, workload, routing })), out: values.out };
}

const round = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(value >= 10 ? 1 : 2);
const seconds = (ms: number): string => (Number.isFinite(ms) ? `${(ms / 1000).toFixed(1)} s` : "never");

function describeFault(fault: Fault): string {
  const { name, converged, calm, readings, published, dropped } = fault;
  const { documents, p50Ms, p99Ms, allMs, open } = converged;
  const times = `50 % ${seconds(p50Ms)}, 99 % ${seconds(p99Ms)}, all ${seconds(allMs)}`;
  const left = open > 0 ? `, ${open} still apart` : "";
  const load = `${round(readings)} readings, ${round(published)} messages, ${round(dropped)} dropped, ${calm ? "calm" : "NOT CALM"} after ${fault.seconds.toFixed(0)} s`;
  return `- ${name}: ${documents} documents lack something; ${times}${left}; ${load}`;
}

function describe(plan: SimulationPlan, { steady, faults, apart, violations }: SimulationResult): string {
  const each = (value: number): string => `${round(value)} (${round(value / plan.nodes)} a node)`;
  const kinds = Object.entries(steady.byKind).map(([kind, count]) => `${kind} ${round(count)}`);
  return [
    `### ${plan.nodes} nodes, ${plan.workload.documents} documents, of which ${plan.workload.openShare} are open, routing ${plan.routing}`,
    "",
    `- people ${each(steady.people)}; live documents ${each(steady.seats)}, with others on them ${each(steady.sharedSeats)}`,
    `- a second: rows ${each(steady.rows)}; PUBLISH ${each(steady.published)}; messages out of Redis ${each(steady.delivered)}`,
    `- MB a second: in ${each(steady.megabytesIn)}, out ${each(steady.megabytesOut)}; readings of the log ${each(steady.readings)}`,
    `- PUBLISH a second by kind: ${kinds.join(", ")}`,
    ...faults.map(describeFault),
    `- at the end ${apart} documents lack something; ${violations.length} marks pass a row that is not there`,
    ...violations,
    "",
  ].join("\n");
}

/** In a thread with memory enough, one for each plan. */
async function simulateApart(plan: SimulationPlan): Promise<SimulationPlan & SimulationResult> {
  const worker = new Worker(new URL(import.meta.url), { workerData: plan, resourceLimits: MEMORY });
  const ended = once(worker, "message");
  const result: SimulationResult = (await ended)[0];
  console.log(describe(plan, result));
  return { ...plan, ...result };
}

async function main(): Promise<void> {
  const { plans, out } = readOptions();
  const begin = performance.now();
  const results = await Promise.all(plans.map(simulateApart));
  console.error(`simulated in ${((performance.now() - begin) / 1000).toFixed(1)} s`);
  if (out !== undefined) writeFileSync(out, `${JSON.stringify(results, undefined, 1)}\n`);
  if (results.some(({ violations }) => violations.length > 0)) process.exitCode = 1;
}

if (isMainThread) {
  await main();
} else {
  const plan: SimulationPlan = workerData;
  parentPort?.postMessage(simulate(plan));
}
