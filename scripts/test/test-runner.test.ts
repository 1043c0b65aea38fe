import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

const HEAD = `import { describe, before, it } from "node:test";\n`;
const PASSES = `${HEAD}it("passes", () => {});`;
const SKIPS = `${HEAD}it("needs redis", { skip: "redis-server is not installed" }, () => {});`;

interface Outcome {
  code: number;
  output: string;
  lastLine: string;
}

describe("the test runner", () => {
  let house: string;

  beforeEach(async () => {
    house = await mkdtemp(path.join(tmpdir(), "test-runner-"));
    await mkdir(path.join(house, "scripts"));
    for (const file of ["test.ts", "test-file.ts"]) {
      await cp(path.resolve(import.meta.dirname, "..", file), path.join(house, "scripts", file));
    }
  });
  afterEach(() => rm(house, { recursive: true, force: true }));

  async function write(file: string, text: string): Promise<void> {
    await mkdir(path.dirname(path.join(house, file)), { recursive: true });
    await writeFile(path.join(house, file), `${text}\n`);
  }

  function runTests(args: readonly string[] = [], ci = "false"): Promise<Outcome> {
    const env = { ...process.env, CI: ci };
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        [path.join(house, "scripts/test.ts"), ...args],
        { env },
        (_error, stdout) => {
          resolve({
            code: child.exitCode ?? -1,
            output: stdout,
            lastLine: stdout.trimEnd().split("\n").at(-1) ?? "",
          });
        },
      );
    });
  }

  it("counts tests, not suites, of every room", async () => {
    await write(
      "shared/test/a.test.ts",
      `${HEAD}describe("s", () => { it("x", () => {}); it("y", () => {}); });`,
    );
    await write("web/test/deep/b.test.ts", PASSES);
    await write("web/src/c.test.ts", PASSES);
    const { code, lastLine } = await runTests();
    assert.deepEqual([code, lastLine], [0, "3 passed, 0 failed, 0 skipped"]);
  });

  it("shows a failure in full and exits with 1", async () => {
    await write(
      "shared/test/a.test.ts",
      `${HEAD}it("breaks", () => { throw new Error("the very reason"); });`,
    );
    const { code, output, lastLine } = await runTests();
    assert.deepEqual([code, lastLine], [1, "0 passed, 1 failed, 0 skipped"]);
    assert.match(output, /breaks[\s\S]*the very reason/);
  });

  it("takes a file whose suites hold no test for a failure", async () => {
    await write("shared/test/a.test.ts", `${HEAD}describe("empty", () => {});`);
    await write("shared/test/b.test.ts", PASSES);
    const { code, output, lastLine } = await runTests();
    assert.deepEqual([code, lastLine], [1, "1 passed, 1 failed, 0 skipped"]);
    assert.match(output, /a\.test\.ts: no test ran/);
  });

  it("lists what was skipped and why, and with CI=true fails for it", async () => {
    await write("shared/test/a.test.ts", `${PASSES}\n${SKIPS.slice(HEAD.length)}`);
    const here = await runTests();
    assert.deepEqual([here.code, here.lastLine], [0, "1 passed, 0 failed, 1 skipped"]);
    assert.match(
      here.output,
      /Skipped on this machine:\n {2}shared\/test\/a\.test\.ts: needs redis \(redis-server is not installed\)/,
    );
    const ci = await runTests([], "true");
    assert.deepEqual([ci.code, ci.lastLine], [1, "1 passed, 0 failed, 1 skipped"]);
  });

  it("counts a skipped suite, and a todo that fails, as skipped", async () => {
    await write(
      "shared/test/a.test.ts",
      `${PASSES}
       describe("suite", { skip: "no docker" }, () => { it("x", () => {}); });
       it("later", { todo: "some day" }, () => { throw new Error("not yet"); });`,
    );
    const { code, output, lastLine } = await runTests();
    assert.deepEqual([code, lastLine], [0, "1 passed, 0 failed, 2 skipped"]);
    assert.match(output, /suite \(no docker\)[\s\S]*later \(todo: some day\)/);
  });

  it("fails when nothing ran, or when all that ran was skipped", async () => {
    assert.deepEqual((await runTests()).code, 1);
    await write("shared/test/a.test.ts", SKIPS);
    const { code, lastLine } = await runTests();
    assert.deepEqual([code, lastLine], [1, "0 passed, 0 failed, 1 skipped"]);
  });

  it("takes the paths that are wanted, and leaves drills and browsers out when quick", async () => {
    for (const name of ["a.test.ts", "b.test.ts", "c.drill.test.ts", "d.browser.test.ts"]) {
      await write(`server/test/${name}`, PASSES);
    }
    assert.equal((await runTests()).lastLine, "4 passed, 0 failed, 0 skipped");
    assert.equal((await runTests(["--quick"])).lastLine, "2 passed, 0 failed, 0 skipped");
    assert.equal((await runTests(["./server/test/b", "c.drill"])).lastLine, "2 passed, 0 failed, 0 skipped");
  });

  const BROKEN = {
    "throws while it loads": `throw new Error("at load");`,
    "declares no test": `export {};`,
    "ends the process": `${HEAD}it("leaves", () => process.exit(0));`,
    "throws after its tests": `${HEAD}it("fine", () => { setTimeout(() => { throw new Error("late"); }, 50); });`,
    "has a hook that throws": `${HEAD}describe("s", () => { before(() => { throw new Error("hook"); }); it("x", () => {}); });`,
  };
  for (const [what, code] of Object.entries(BROKEN)) {
    it(`fails a file that ${what}`, async () => {
      await write("shared/test/a.test.ts", code);
      const outcome = await runTests();
      assert.equal(outcome.code, 1);
      assert.match(outcome.lastLine, /^\d+ passed, [1-9]\d* failed, 0 skipped$/);
    });
  }

  it("kills a file that does not end, with the processes that it started, and counts it as failed", async () => {
    await write(
      "shared/test/a.test.ts",
      `${HEAD}
       import { spawn } from "node:child_process";
       import { writeFileSync } from "node:fs";
       process.on("SIGTERM", () => {});
       const child = spawn("sleep", ["600"]);
       writeFileSync(${JSON.stringify(path.join(house, "pid"))}, String(child.pid));
       it("passes", () => {});
       setInterval(() => {}, 1000);`,
    );
    const { code, output } = await runTests(["--file-timeout-ms=4000"]);
    assert.equal(code, 1);
    assert.match(output, /1 passed, 1 failed[\s\S]*a\.test\.ts: killed .*still open/);
    const pid = Number(await readFile(path.join(house, "pid"), "utf8"));
    // A process without a parent of its own may stay as an entry until it is reaped; it runs nothing then.
    const state = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "gone");
    assert.match(state, /^gone$|\) Z /);
  });

  it("names the test that hangs", async () => {
    await write("shared/test/a.test.ts", `${HEAD}it("never ends", () => new Promise(() => {}));`);
    const { code, output, lastLine } = await runTests(["--file-timeout-ms=4000"]);
    assert.deepEqual([code, lastLine], [1, "0 passed, 1 failed, 0 skipped"]);
    assert.match(output, /never ends/);
  });
});
