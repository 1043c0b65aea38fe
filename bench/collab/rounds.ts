import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { cleanUp } from "./processes.ts";
import { ratios } from "./report.ts";
import type { CellResult } from "./report.ts";
import type { Cell, Named, Pace } from "./scenarios/scenario.ts";

const MEASURE_MS = 240_000;

/** Ends what takes too long by ending its processes, so that nothing of it disturbs what comes next. */
async function withDeadline<T>(work: Promise<T>): Promise<T> {
  const timer = setTimeout(() => {
    console.error(`not done after ${MEASURE_MS} ms`);
    cleanUp();
  }, MEASURE_MS);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

const describe = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export interface Rounds<P extends Named> {
  readonly scenario: string;
  readonly cell: Cell<P>;
  readonly peers: readonly P[];
  readonly rounds: number;
  readonly pace: Pace;
}

/** All rounds of a cell, the peers in turn within each. */
export async function measureCell<P extends Named>(plan: Rounds<P>): Promise<CellResult> {
  const { scenario, cell, peers, pace } = plan;
  const result: CellResult = { scenario, cell: cell.name, metrics: cell.metrics, rounds: {}, notes: [] };
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const peer of peers) {
      const kept = (result.rounds[peer.name] ??= []);
      const skip = cell.skips?.(peer);
      if (skip !== undefined) {
        kept.push(null);
        result.notes.push(`${peer.name}: ${skip}`);
        continue;
      }
      const said = `${scenario}: ${cell.name}, round ${round + 1}, ${peer.name}`;
      try {
        const values = await withDeadline(cell.measure({ peer, seed: 1000 + round, pace }));
        kept.push(values);
        const first = cell.metrics[0];
        const value = first === undefined ? undefined : values[first.key];
        console.error(`${said}: ${value?.toFixed(3)}`);
      } catch (error) {
        kept.push(null);
        result.notes.push(`${peer.name}, round ${round + 1}: ${describe(error)}`);
        console.error(`${said} failed: ${describe(error)}`);
      }
    }
  }
  return result;
}

export interface Report {
  readonly results: readonly CellResult[];
  readonly startedAt: string;
  readonly rounds: number;
  readonly pace: Pace;
}

export function writeReport(path: string, { results, startedAt, rounds, pace }: Report): void {
  const withRatios = results.map((result) => ({
    ...result,
    ratios: Object.fromEntries(result.metrics.map(({ key }) => [key, ratios(result, key)])),
  }));
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, node: process.version, load: loadavg() };
  const report = { startedAt, machine, rounds, quick: pace.quick, results: withRatios };
  writeFileSync(path, `${JSON.stringify(report, null, 1)}\n`);
}
