import { parentPort, workerData } from "node:worker_threads";
import { mergeParts } from "../part.ts";
import type { MergeInput } from "../ports.ts";

/** One merge, then the thread ends. An error travels as text: a damaged part must not take the server down. */
try {
  const input: MergeInput = workerData;
  const body = mergeParts(input);
  parentPort?.postMessage({ body });
} catch (error) {
  parentPort?.postMessage({ error: error instanceof Error ? error.message : String(error) });
}
