import { Worker } from "node:worker_threads";
import { mergeParts } from "../part.ts";
import type { Compactor, MergeInput } from "../ports.ts";

/** Below this much input the merge is done here: a worker's start costs more than it saves. */
const INLINE_BYTES = 128 * 1024;
/** A merge that takes longer than this is given up; the rows stay and are tried again later. */
const MERGE_MS = 120_000;

interface Answer {
  readonly body?: Uint8Array;
  readonly error?: string;
}

/** Merges small inputs in place and large ones in a worker thread that lives as long as its one job. */
export function createCompactor(): Compactor {
  const running = new Set<Worker>();

  function inWorker(input: MergeInput): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const worker = new Worker(new URL("merge-worker.ts", import.meta.url), { workerData: input });
      running.add(worker);
      const timer = setTimeout(() => void worker.terminate(), MERGE_MS);
      const settle = (): void => {
        clearTimeout(timer);
        running.delete(worker);
      };
      worker.once("message", ({ body, error }: Answer) => {
        if (body === undefined) reject(new Error(error));
        else resolve(body);
      });
      worker.once("error", reject);
      worker.once("exit", (code) => {
        settle();
        // Has no effect after the message; says why when the worker was terminated or died of memory.
        reject(new Error(`merge worker ended with ${code}`));
      });
    });
  }

  return {
    async merge(input) {
      const bytes = [...input.parts, ...input.updates].reduce((sum, piece) => sum + piece.length, 0);
      return bytes <= INLINE_BYTES ? mergeParts(input) : inWorker(input);
    },
    async stop() {
      await Promise.all([...running].map((worker) => worker.terminate()));
    },
  };
}
