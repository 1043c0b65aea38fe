import { fileURLToPath } from "node:url";
import { startChild } from "../processes.ts";
import type { Methods, Reply, Request } from "./main.ts";

/** The generator as its user sees it: its methods, across the process boundary. */
export interface Generator {
  call<M extends keyof Methods>(
    method: M,
    ...input: Parameters<Methods[M]>
  ): Promise<Awaited<ReturnType<Methods[M]>>>;
  readonly pid: number;
  stop(): Promise<void>;
}

/** A method so that each call's own type fits: what a method returns is what comes back. */
interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

const CALL_MS = 300_000;

export async function startGenerator(): Promise<Generator> {
  const child = startChild({
    args: ["--max-semi-space-size=64", fileURLToPath(new URL("main.ts", import.meta.url))],
    ipc: true,
  });
  const waiting = new Map<number, Waiting>();
  const ready = Promise.withResolvers<undefined>();
  let nextId = 1;

  child.process.on("message", (reply: Reply) => {
    if (reply.id === 0) {
      ready.resolve(undefined);
      return;
    }
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ("error" in reply) call?.reject(new Error(reply.error));
    else call?.resolve(reply.value);
  });
  child.process.on("exit", (code, signal) => {
    const error = new Error(`the generator ended (${code ?? signal}) ${child.output()}`);
    ready.reject(error);
    for (const call of waiting.values()) call.reject(error);
  });

  await ready.promise;
  return {
    pid: child.pid,
    call: (method, ...input) => {
      const request: Request = { id: nextId, method, input: input[0] };
      nextId += 1;
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${method}: no reply in ${CALL_MS} ms`)), CALL_MS);
        const settle =
          <T>(done: (value: T) => void) =>
          (value: T): void => {
            clearTimeout(timer);
            done(value);
          };
        waiting.set(request.id, { resolve: settle(resolve), reject: settle(reject) });
        child.process.send(request);
      });
    },
    stop: () => child.stop(),
  };
}
