import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";

const ADMIN = fileURLToPath(new URL("../../src/admin.ts", import.meta.url));

export interface AdminRun {
  /** Undefined for a process that was killed. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** `npm run admin -- ...` in a process of its own. */
export function startAdmin(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { readonly ended: Promise<AdminRun>; kill(signal?: NodeJS.Signals): void } {
  const child = spawn(process.execPath, [ADMIN, ...args], {
    // Not in our cwd: somebody's .env must not reach a test.
    cwd: tmpdir(),
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], ...env },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = once(child, "close").then(([code]: unknown[]) => ({
    code: typeof code === "number" ? code : undefined,
    stdout,
    stderr,
  }));
  return { ended, kill: (signal = "SIGKILL") => void child.kill(signal) };
}

/** Runs to the end, which must be a good one; what it said to stdout. */
export async function admin(
  args: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<string> {
  const { code, stdout, stderr } = await startAdmin(args, env).ended;
  if (code !== 0) throw new Error(`admin ${args.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
}
