import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Every child and directory that a run makes, so that none outlives it, however it ends. */

/** With the signal that ends it for certain, and all that it started. */
const children = new Map<ChildProcess, NodeJS.Signals>();
const directories = new Set<string>();
const KILL_AFTER_MS = 5_000;

export interface Child {
  readonly pid: number;
  readonly process: ChildProcess;
  /** The end of what it printed, for saying why it failed. */
  output(): string;
  /** Resolves with the first line of output that matches. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
  /** SIGTERM, and SIGKILL when that does not help. */
  readonly stop: () => Promise<void>;
  /** SIGKILL at once. */
  readonly kill: () => Promise<void>;
}

export interface ChildPlan {
  /** By default this very Node. */
  readonly command?: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly ipc?: boolean;
  /** How a run that is cut short ends it: SIGKILL, unless it must end processes of its own. */
  readonly lastSignal?: NodeJS.Signals;
}

const START_MS = 30_000;
const KEPT_OUTPUT = 4_000;

/** Starts a program; its variables are PATH, HOME and what is given, nothing of ours. */
export function startChild(plan: ChildPlan): Child {
  const child = spawn(plan.command ?? process.execPath, [...plan.args], {
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"], ...plan.env },
    stdio: ["ignore", "pipe", "pipe", ...(plan.ipc === true ? (["ipc"] as const) : [])],
    // Away from any .env of the place we were started in.
    cwd: parentDirectory,
    serialization: "advanced",
  });
  const pid = child.pid;
  if (pid === undefined) throw new Error(`cannot start ${plan.args.join(" ")}`);
  children.set(child, plan.lastSignal ?? "SIGKILL");
  let output = "";
  const lineWaiters = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT);
      for (const look of lineWaiters) look();
    });
  }
  child.on("exit", () => children.delete(child));
  const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (ended()) return;
    const exit = once(child, "exit");
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
    await exit;
    clearTimeout(timer);
  }

  return {
    pid,
    process: child,
    output: () => output,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const settle = (done: () => void): void => {
          lineWaiters.delete(look);
          clearTimeout(timer);
          child.off("exit", gone);
          done();
        };
        const look = (): void => {
          const match = pattern.exec(output);
          if (match !== null) settle(() => resolve(match));
        };
        const fail = (what: string) => (): void => {
          settle(() => reject(new Error(`${plan.args.join(" ")} ${what}:\n${output}`)));
        };
        const gone = fail("ended before it was ready");
        const timer = setTimeout(fail(`was not ready after ${START_MS} ms`), START_MS);
        lineWaiters.add(look);
        child.on("exit", gone);
        look();
      }),
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

let parentDirectory = tmpdir();

/** Where data directories go; a disk, not tmpfs, when bytes written are to be counted. */
export function useParentDirectory(path: string): void {
  parentDirectory = path;
}

export function makeDirectory(): string {
  const path = mkdtempSync(join(parentDirectory, "scriptorium-bench-"));
  directories.add(path);
  return path;
}

export function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
  directories.delete(path);
}

/** At the end of the run, or in the middle of it: nothing is left. */
export function cleanUp(): void {
  for (const [child, signal] of children) child.kill(signal);
  for (const path of directories) removeDirectory(path);
}
