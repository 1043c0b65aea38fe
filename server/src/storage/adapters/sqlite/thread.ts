import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import type {
  FromThread,
  ReadCalls,
  Request,
  StoreError,
  ThreadBoot,
  ToThread,
  WriteCalls,
} from "./calls.ts";
import { openReader } from "./reader.ts";
import { openWriter } from "./writer.ts";

/** Requests of one commit; more wait for the next, so that no acknowledgement waits for thousands of others. */
const GROUP_REQUESTS = 1_000;

interface Engine<Calls> {
  run(requests: readonly Request<Calls>[]): FromThread;
  /** What may wait until the answers are out; tells what went wrong with it. */
  afterwards(): StoreError | undefined;
  close(): void;
}

/**
 * The body of a store's thread: takes everything that waits in the port, runs it as one group, answers once. SQLite's
 * calls block, and here they may. An error outside a request ends the thread; the lane starts another.
 */
function serve<Calls>(port: MessagePort, engine: Engine<Calls>): void {
  const drain = (first: ToThread<Calls>): void => {
    let next: ToThread<Calls> | undefined = first;
    while (next !== undefined) {
      const group: Request<Calls>[] = [];
      while (next !== undefined && next !== "stop" && group.length < GROUP_REQUESTS) {
        group.push(next);
        next = receive(port);
      }
      if (group.length > 0) {
        const done = engine.run(group);
        port.postMessage(done, transferable(done));
        const trouble = engine.afterwards();
        if (trouble !== undefined) port.postMessage({ ...done, answers: [], trouble }, []);
      }
      if (next === "stop") {
        engine.close();
        port.close();
        return;
      }
      next ??= receive(port);
    }
  };
  port.on("message", drain);
}

function receive<Calls>(port: MessagePort): ToThread<Calls> | undefined {
  const received = receiveMessageOnPort(port);
  return received?.message;
}

/** Large results change hands; small ones are cheaper to copy. */
function transferable({ answers }: FromThread): ArrayBuffer[] {
  return answers.flatMap((answer) => {
    const bytes = "value" in answer && answer.value instanceof Uint8Array ? answer.value.buffer : undefined;
    return bytes instanceof ArrayBuffer && bytes.byteLength > 4_096 ? [bytes] : [];
  });
}

function main(port: MessagePort, boot: ThreadBoot): void {
  if (boot.role === "writer") {
    const writer = openWriter(boot);
    serve<WriteCalls>(port, { ...writer, afterwards: () => writer.checkpoint() });
  } else {
    const reader = openReader(boot);
    serve<ReadCalls>(port, { ...reader, afterwards: () => undefined });
  }
  // Answers no request: says that opening is over.
  port.postMessage({ answers: [], commits: 0, storedBytes: 0 } satisfies FromThread);
}

if (parentPort === null) throw new Error("this file is the body of a worker thread");
main(parentPort, workerData);
