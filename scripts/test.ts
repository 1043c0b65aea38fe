/**
 * The test runner: `node scripts/test.ts [--quick] [PATH...]`. Runs every test file below the rooms' test folders that this machine
 * can run, or those whose path contains one of the PATHs; `--quick` leaves out fault drills and browser tests.
 * The last line is always `N passed, N failed, N skipped`. Fails on a failure, when nothing ran, and with CI=true on a skip.
 */
import { fork, type ChildProcess } from "node:child_process";
import { globSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import type { FileReport } from "./test-file.ts";

const ROOT = path.dirname(import.meta.dirname);
const PATTERN = "{shared,collab,terminal,server,web,scripts,bench}/test/**/*.test.ts";
/** Real processes under kill -9, real browsers: minutes, both cores, so one file at a time and after the others. */
const SLOW = /\.(drill|browser)\.test\.ts$/;
/** Quick files at a time; the reference machine has two cores, and much of what is quick waits. */
const QUICK_AT_ONCE = 3;
/** A file that has not ended by then is killed with all it started, and has failed. Loaded machines are ten times slower. */
const QUICK_FILE_MS = 120_000;
const SLOW_FILE_MS = 600_000;
/** A single test gives up this share of its file's time, so that the report can name it. */
const TEST_SHARE = 0.8;
/** Output kept per file; of more, the end. */
const OUTPUT_CHARS = 1_000_000;
const NODE_MAJOR = 24;

interface FileResult extends FileReport {
  file: string;
  /** What the file printed, and why it failed when it could not say so itself. */
  output: string;
  ms: number;
}

const running = new Set<ChildProcess>();

/** Messages come from test-file.ts, and from any test that uses the channel for itself. */
function isReport(message: unknown): message is FileReport {
  return typeof message === "object" && message !== null && "passed" in message && "complete" in message;
}

/** Ends the file's process group: the file and every server it started. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    // ESRCH: all of them have ended, which is what was wanted.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function start(file: string, fileMs: number): ChildProcess {
  const child = fork(path.join(ROOT, "scripts/test-file.ts"), [file, String(fileMs * TEST_SHARE)], {
    cwd: ROOT,
    detached: true,
    silent: true,
    env: { ...process.env, FORCE_COLOR: process.stdout.isTTY ? "1" : "0" },
  });
  running.add(child);
  return child;
}

/** Why a file has failed beyond what its own report counts. */
function outsideFailure(ending: {
  report: FileReport;
  code: number | null;
  timedOut: boolean;
}): string | undefined {
  const { report, code, timedOut } = ending;
  if (timedOut) {
    const open =
      report.open.length > 0
        ? `running: ${report.open.join(" > ")}`
        : "something it started is still open, or blocks the event loop";
    return `killed after its time was up; ${open}`;
  }
  if (!report.complete) return `the process ended before its tests (exit code ${code})`;
  if (code !== 0 && report.failed === 0) return `an error outside of any test (exit code ${code})`;
  if (report.passed + report.failed + report.skipped.length === 0) return "no test ran";
  return undefined;
}

function runFile(file: string, fileMs: number): Promise<FileResult> {
  const startedAt = performance.now();
  const child = start(file, fileMs);
  let output = "";
  let report: FileReport = { passed: 0, failed: 0, skipped: [], open: [], complete: false };
  let timedOut = false;
  const keep = (chunk: string): void => {
    output = (output + chunk).slice(-OUTPUT_CHARS);
  };
  child.stdout?.setEncoding("utf8").on("data", keep);
  child.stderr?.setEncoding("utf8").on("data", keep);
  child.on("message", (message) => {
    if (isReport(message)) report = message;
  });
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child);
  }, fileMs);
  // What a file leaves running holds its pipes open: end it before waiting for `close`.
  child.once("exit", () => killGroup(child));
  return new Promise((resolve) => {
    child.once("close", (code) => {
      clearTimeout(timer);
      running.delete(child);
      const result = { ...report, file, ms: performance.now() - startedAt };
      const outside = outsideFailure({ report, code, timedOut });
      if (outside === undefined) return resolve({ ...result, output });
      resolve({ ...result, failed: result.failed + 1, output: `${output}${file}: ${outside}\n` });
    });
  });
}

function print(result: FileResult): void {
  const { file, passed, failed, skipped, output, ms } = result;
  const counts = [`${passed} passed`];
  if (failed > 0) counts.push(`${failed} failed`);
  if (skipped.length > 0) counts.push(`${skipped.length} skipped`);
  console.log(`${failed > 0 ? "✖" : "✔"} ${file}  ${counts.join(", ")}  ${(ms / 1000).toFixed(1)} s`);
  if (failed > 0) console.log(output.replaceAll(/^/gm, "  ").trimEnd());
}

async function runAll(files: readonly string[], atOnce: number, fileMs: number): Promise<FileResult[]> {
  const results: FileResult[] = [];
  const queue = files.values();
  const lane = async (): Promise<void> => {
    for (const file of queue) {
      const result = await runFile(file, fileMs);
      print(result);
      results.push(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return results;
}

/** Prints the closing lines and returns the exit code. */
function summarize(results: readonly FileResult[]): number {
  const skips = results.flatMap(({ file, skipped }) => skipped.map((skip) => ({ file, ...skip })));
  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  const unreliable = process.env["CI"] === "true" && skips.length > 0;
  if (skips.length > 0) {
    console.log("\nSkipped on this machine:");
    for (const { file, name, reason } of skips) console.log(`  ${file}: ${name} (${reason})`);
  }
  if (unreliable) console.log("\nWith CI=true a skipped test is a failure.");
  if (passed + failed === 0) console.log("\nNo test ran.");
  console.log(`\n${passed} passed, ${failed} failed, ${skips.length} skipped`);
  return failed > 0 || passed === 0 || unreliable ? 1 : 0;
}

async function main(): Promise<number> {
  if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR) {
    console.error(
      `Tests need Node ${NODE_MAJOR}; this is ${process.version}. "npm test" uses the one that npm ci installed.`,
    );
    return 1;
  }
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: "boolean", default: false }, "file-timeout-ms": { type: "string" } },
  });
  const wanted = positionals.map((given) => path.normalize(given));
  const files = globSync(PATTERN, { cwd: ROOT })
    .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
    .toSorted();
  const limitMs = values["file-timeout-ms"] === undefined ? undefined : Number(values["file-timeout-ms"]);
  const quick = files.filter((file) => !SLOW.test(file));
  const slow = values.quick ? [] : files.filter((file) => SLOW.test(file));
  return summarize([
    ...(await runAll(quick, QUICK_AT_ONCE, limitMs ?? QUICK_FILE_MS)),
    ...(await runAll(slow, 1, limitMs ?? SLOW_FILE_MS)),
  ]);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    for (const child of running) killGroup(child);
    process.exit(1);
  });
}
process.exitCode = await main();
