import { readdirSync, readFileSync } from "node:fs";
import { sum } from "./stats.ts";

/** What Linux says about a process. Source: proc(5). */

const TICKS_PER_SECOND = 100;

/** CPU seconds of all threads of a process, user and system, since it began; steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/**
 * CPU seconds of these processes and of all that descend from them, those that have ended and were waited for too: a
 * database forks for each connection.
 */
export function familyCpuSeconds(pids: readonly number[]): number {
  const family = new Set(pids);
  const all = new Map<number, { parent: number; seconds: number }>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const fields = statFields(Number(name));
    if (fields === undefined) continue;
    const ticks = [11, 12, 13, 14].map((at) => Number(fields[at]));
    all.set(Number(name), { parent: Number(fields[1]), seconds: sum(ticks) / TICKS_PER_SECOND });
  }
  for (let known = 0; known < family.size;) {
    known = family.size;
    for (const [pid, { parent }] of all) if (family.has(parent)) family.add(pid);
  }
  return sum([...family].map((pid) => all.get(pid)?.seconds ?? 0));
}

/** From the process's state on; undefined for one that has ended meanwhile. */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    // ENOENT or ESRCH.
    return undefined;
  }
}

function field(pid: number, file: "status" | "io", name: string): number {
  const line = readFileSync(`/proc/${pid}/${file}`, "latin1")
    .split("\n")
    .find((candidate) => candidate.startsWith(`${name}:`));
  if (line === undefined) throw new Error(`/proc/${pid}/${file} has no ${name}`);
  return Number.parseInt(line.slice(name.length + 1), 10);
}

export function rssKb(pid: number): number {
  return field(pid, "status", "VmRSS");
}

/** Bytes that the process has caused to be written to a disk; 0 for what goes to tmpfs. */
export function diskBytesWritten(pid: number): number {
  return field(pid, "io", "write_bytes");
}
