import { spawnServer } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));

async function tempDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "scriptorium-test-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Runs a start that is expected to fail. */
async function start(dir: string, env: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, [MAIN], {
    cwd: dir,
    env: { PATH: process.env["PATH"], PORT: "0", DATA_DIR: join(dir, "data"), ...env },
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (text) => (output.stdout += text));
  child.stderr.on("data", (text) => (output.stderr += text));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, ...output };
}

/** One line that a person can act on; no stack. */
function assertPlain(result: Awaited<ReturnType<typeof start>>, says: RegExp): void {
  assert.equal(result.code, 1);
  assert.equal(result.stdout, "");
  const lines = result.stderr
    .trim()
    .split("\n")
    .filter((line) => !line.startsWith("{"));
  assert.equal(lines.length, 1, result.stderr);
  assert.match(lines[0] ?? "", says);
}

describe("the process", { timeout: 60_000 }, () => {
  it("says one line when it is ready, keeps its data over kill -9 and ends with 0 on SIGTERM", async (t) => {
    const dir = await tempDir(t);
    const first = await spawnServer({ dir });
    const ada = await first.register("ada");
    const project = await ada.createProject("Kept");
    assert.deepEqual(await first.kill("SIGKILL"), { code: null, signal: "SIGKILL" });
    const second = await spawnServer({ dir });
    const again = await second.login("ada");
    assert.deepEqual(
      (await again.projects()).items.map((item) => item.id),
      [project.id],
    );
    // The keys are in the store: what was issued before the crash still counts.
    const headers = { authorization: `Bearer ${ada.accessToken}` };
    assert.equal((await fetch(`${second.url}/api/v1/users/me`, { headers })).status, 200);
    assert.deepEqual(await second.kill("SIGTERM"), { code: 0, signal: null });
  });

  it("logs no token, no password and no query", async () => {
    const server = await spawnServer({ env: { LOG_LEVEL: "trace" } });
    const ada = await server.register("ada");
    const ticket = await ada.ticket();
    const socket = new WebSocket(`${server.wsUrl}/yjs/notes:${ada.user.id}?token=${ticket}`);
    await new Promise((resolve) => socket.addEventListener("close", resolve));
    await fetch(`${server.url}/api/v1/users/me?token=${ada.accessToken}`);
    await fetch(`${server.url}/nowhere?token=${ada.accessToken}`);
    await server.login("ada", "a wrong password").catch(() => undefined);
    await ada.refresh();
    await server.kill("SIGTERM");
    const logs = server.logs();
    assert.match(logs, /"route":"\/api\/v1\/auth\/login","status":401/);
    for (const secret of [
      ticket,
      ada.accessToken,
      ada.refreshToken,
      ada.password,
      "a wrong password",
      "token=",
    ]) {
      assert.ok(!logs.includes(secret), secret);
    }
  });

  it("refuses bad configuration in one line that names the variable, from .env too", async (t) => {
    const dir = await tempDir(t);
    assertPlain(await start(dir, { PORT: "many" }), /^Scriptorium cannot start: PORT: /);
    assertPlain(await start(dir, { REDIS_URL: "redis://127.0.0.1" }), /REDIS_URL: .*needs MONGODB_URL/);
    await writeFile(join(dir, ".env"), "COLLAB_SPEED=11\n");
    assertPlain(await start(dir, {}), /COLLAB_SPEED: there is no such setting/);
  });

  it("refuses a MongoDB that does not answer, in one line without user and password", async (t) => {
    const dir = await tempDir(t);
    const url = "mongodb://bertha:s3cret%21@127.0.0.1:1/x";
    const refused = await start(dir, { MONGODB_URL: url, LOG_LEVEL: "debug" });
    assertPlain(refused, /MONGODB_URL: no MongoDB server answers at 127\.0\.0\.1:1 /);
    assert.ok(!/s3cret|bertha/.test(refused.stderr), refused.stderr);
  });

  it("refuses an address in use and a directory it cannot use, in one line", async (t) => {
    const dir = await tempDir(t);
    const other = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    t.after(() => other.close());
    const address = other.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    assertPlain(await start(dir, { PORT: String(port) }), /address is in use/);
    await writeFile(join(dir, "file"), "not a directory");
    assertPlain(await start(dir, { DATA_DIR: join(dir, "file") }), /DATA_DIR/);
  });

  it("refuses a data directory that another server has open", async (t) => {
    const dir = await tempDir(t);
    const first = await spawnServer({ dir });
    assertPlain(await start(dir, { DATA_DIR: dir }), /another process has the data directory/);
    await first.kill("SIGTERM");
  });
});
