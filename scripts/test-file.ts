/**
 * Runs one test file in this process and reports to scripts/test.ts, which starts it: the failures as text on stdout, the
 * counts so far as an IPC message after each result. A process per file, so that a file that leaks, hangs or crashes harms no other.
 */
import { Transform } from "node:stream";
import { run } from "node:test";
import { spec, type TestEvent } from "node:test/reporters";

/** What one file came to. */
export interface FileReport {
  passed: number;
  failed: number;
  skipped: { name: string; reason: string }[];
  /** Tests and suites that have begun and not ended. */
  open: string[];
  /** Every test has ended, and nothing that the file started is left. */
  complete: boolean;
}

/** node:test's own closing lines; every other diagnostic was said by a test, or is an error outside of any test. */
const CLOSING_LINE = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

type Outcome = Extract<TestEvent, { type: "test:pass" | "test:fail" }>;

function readArguments(): { file: string; timeout: number } {
  const [file, timeoutMs] = process.argv.slice(2);
  if (file === undefined) throw new Error("usage: node scripts/test-file.ts FILE TIMEOUT_MS");
  return { file, timeout: Number(timeoutMs) };
}

const { file, timeout } = readArguments();
const report: FileReport = { passed: 0, failed: 0, skipped: [], open: [], complete: false };

/** Why a test did not count, or undefined when it did. node:test does not count a `todo` that fails. */
function skipReason({ skip, todo }: Outcome["data"]): string | undefined {
  const given = skip ?? (todo === undefined || todo === false ? undefined : `todo: ${todo}`);
  if (given === undefined || given === false) return undefined;
  return given === true || given === "" ? "no reason given" : given;
}

/** Counts one result; true when the reporter is to show it. */
function count(event: Outcome): boolean {
  const { data } = event;
  const reason = skipReason(data);
  if (reason !== undefined) {
    report.skipped.push({ name: data.name, reason });
    return false;
  }
  if (event.type === "test:fail") {
    // What fails only for the tests inside it is counted by them; a suite whose hook or body throws counts itself.
    const cause: unknown = Reflect.get(event.data.details.error, "failureType");
    if (cause !== "subtestsFailed") report.failed += 1;
    return true;
  }
  if (data.details.type === "suite") return false;
  if (data.name === file) {
    // node:test reports a file in which nothing is declared as one passed test.
    report.failed += 1;
    process.stdout.write("the file declares no test\n");
    return false;
  }
  report.passed += 1;
  return false;
}

/** Keeps the list of what runs, for the case that it never ends. */
function follow(event: TestEvent): void {
  if (event.type === "test:dequeue") report.open.push(event.data.name);
  if (event.type !== "test:complete") return;
  const at = report.open.indexOf(event.data.name);
  if (at >= 0) report.open.splice(at, 1);
}

const failures = new Transform({
  objectMode: true,
  transform(event: TestEvent, _encoding, done) {
    follow(event);
    if (event.type === "test:diagnostic" && !CLOSING_LINE.test(event.data.message)) {
      process.stdout.write(`${event.data.message}\n`);
    }
    if ((event.type === "test:pass" || event.type === "test:fail") && count(event)) this.push(event);
    process.send?.(report);
    done();
  },
});

failures.once("end", () => process.send?.({ ...report, complete: true }));
run({ files: [file], isolation: "none", timeout })
  .pipe(failures)
  .pipe(new spec())
  .pipe(process.stdout, { end: false });
