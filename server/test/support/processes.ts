import { execFileSync } from "node:child_process";
import { until } from "./site.ts";

interface Row {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
}

const GONE_MS = 60_000;

/** Every process that runs; one that has ended and that nobody has asked about (Z) does not. */
function table(): Row[] {
  const rows: Row[] = [];
  // Portable, unlike /proc.
  const told = execFileSync("ps", ["-A", "-o", "pid=,ppid=,pgid=,stat="], { encoding: "utf8" });
  for (const line of told.trim().split("\n")) {
    const [pid, parent, group, state = ""] = line.trim().split(/\s+/);
    if (!state.startsWith("Z")) rows.push({ pid: Number(pid), parent: Number(parent), group: Number(group) });
  }
  return rows;
}

/** Every process that this one started, and those that they started; the one that lists them has ended by then. */
export function descendantsOf(ancestor: number): number[] {
  const rows = table();
  const below = (pid: number): number[] =>
    rows.filter(({ parent }) => parent === pid).flatMap((row) => [row.pid, ...below(row.pid)]);
  return running(below(ancestor));
}

export function groupOf(pid: number): number | undefined {
  return table().find((row) => row.pid === pid)?.group;
}

export async function untilGone(pids: readonly number[]): Promise<void> {
  await until(
    () => running(pids).length === 0,
    () => `they end: ${running(pids).join()}`,
    GONE_MS,
  );
}

function running(pids: readonly number[]): number[] {
  const alive = new Set(table().map(({ pid }) => pid));
  return pids.filter((pid) => alive.has(pid));
}
