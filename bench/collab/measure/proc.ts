import { readFileSync } from "node:fs";

/** What Linux says about a process. Source: proc(5). */

const TICKS_PER_SECOND = 100;

/** CPU seconds of all threads of a process, user and system, since it began; steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
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
