import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

describe("check-rules", () => {
  let house: string;

  beforeEach(async () => {
    house = await mkdtemp(path.join(tmpdir(), "check-rules-"));
    await mkdir(path.join(house, "scripts"));
    await cp(
      path.resolve(import.meta.dirname, "../check-rules.ts"),
      path.join(house, "scripts/check-rules.ts"),
    );
  });
  afterEach(() => rm(house, { recursive: true, force: true }));

  async function write(file: string, text: string): Promise<void> {
    await mkdir(path.dirname(path.join(house, file)), { recursive: true });
    await writeFile(path.join(house, file), text);
  }

  function check(): Promise<{ passes: boolean; complaints: string[] }> {
    return new Promise((resolve) => {
      execFile(process.execPath, [path.join(house, "scripts/check-rules.ts")], (error, _stdout, stderr) => {
        resolve({ passes: error === null, complaints: stderr.trim().split("\n").filter(Boolean) });
      });
    });
  }

  it("passes when no room has rules yet", async () => {
    assert.deepEqual(await check(), { passes: true, complaints: [] });
  });

  it("passes when every rule is shown in the room, in its contract suites or in the server", async () => {
    await write("collab/SPEC.md", "- **DL1** One.\n- **DL2** Two.\n- **DL3** Three.\n- **DL4** Four.\n");
    await write("collab/test/deep/a.test.ts", 'it("[DL1] [DL2] says both", () => {});\n');
    await write("collab/src/testing/contract.ts", "it(\n  `[DL3] over ${name}`, () => {});\n");
    await write("server/test/b.drill.test.ts", 'test("[DL4] survives", () => {});\n');
    assert.deepEqual(await check(), { passes: true, complaints: [] });
  });

  it("refuses a rule that no running test shows", async () => {
    await write("collab/SPEC.md", "- **DL1** One.\n- **DL2** Two.\n- **DL3** Three.\n");
    await write("collab/test/a.test.ts", 'it.skip("[DL1] later", () => {});\nit("see [DL2]", () => {});\n');
    await write("terminal/test/a.test.ts", "// [DL3]\n");
    assert.deepEqual(await check(), {
      passes: false,
      complaints: ["DL1", "DL2", "DL3"].map((id) => `collab/SPEC.md: no test shows ${id}`),
    });
  });

  it("refuses a test that cites a rule of no room, or of another room", async () => {
    await write("collab/SPEC.md", "- **DL1** One.\n");
    await write("collab/test/a.test.ts", 'it("[DL1] [DL9] x", () => {});\n');
    await write("server/test/a.test.ts", 'describe("[ZZ1] x", () => {});\n');
    await write("terminal/test/a.test.ts", 'it("[DL1] x", () => {});\n');
    assert.deepEqual(await check(), {
      passes: false,
      complaints: [
        "server/test/a.test.ts: cites ZZ1, which no SPEC.md defines",
        "collab/test/a.test.ts: cites DL9, which collab/SPEC.md does not define",
        "terminal/test/a.test.ts: cites DL1, which terminal/SPEC.md does not define",
      ],
    });
  });

  it("refuses an id that is defined twice, also in two rooms", async () => {
    await write("collab/SPEC.md", "- **DL1** One.\n- **DL1** Again.\n");
    await write("terminal/SPEC.md", "- **DL1** Elsewhere.\n");
    await write("server/test/a.test.ts", 'it("[DL1] x", () => {});\n');
    assert.deepEqual(await check(), {
      passes: false,
      complaints: [
        "collab/SPEC.md: DL1 is defined twice (before: collab/SPEC.md)",
        "terminal/SPEC.md: DL1 is defined twice (before: collab/SPEC.md)",
      ],
    });
  });
});
