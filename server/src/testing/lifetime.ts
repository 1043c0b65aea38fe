/**
 * What was started, and its end: in reverse order by `end`, also when the process gets SIGINT or SIGTERM, which it then
 * dies of. Whatever ends the process otherwise, short of SIGKILL, takes along what is still there.
 */
export interface Lifetime {
  /** Rejects once the end has begun; what is being started by then is waited for, and ended too. */
  start<T>(begin: () => Promise<T>, endingOf: (started: T) => Ending): Promise<T>;
  /** Ends everything, each after whatever was started later; reports the first failure after all have been tried. */
  end(): Promise<void>;
}

interface Ending {
  end(): Promise<void>;
  /** Within this turn of the event loop, which is the last. */
  endNow(): void;
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

export function createLifetime(): Lifetime {
  const starting = new Set<Promise<unknown>>();
  const endings: Ending[] = [];
  let ended: Promise<void> | undefined;

  const endAll = async (): Promise<void> => {
    await Promise.allSettled(starting);
    const failures: unknown[] = [];
    for (const ending of endings.toReversed()) {
      const [outcome] = await Promise.allSettled([ending.end()]);
      if (outcome.status === "rejected") failures.push(outcome.reason);
    }
    for (const signal of SIGNALS) process.off(signal, onSignal);
    process.off("exit", onExit);
    if (failures.length > 0) throw failures[0];
  };
  const end = (): Promise<void> => (ended ??= endAll());
  const onSignal = (signal: NodeJS.Signals): void => {
    const die = () => process.kill(process.pid, signal);
    end().then(die, (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
      die();
    });
  };
  const onExit = (): void => endings.toReversed().forEach((ending) => ending.endNow());
  for (const signal of SIGNALS) process.on(signal, onSignal);
  process.on("exit", onExit);

  return {
    async start(begin, endingOf) {
      if (ended !== undefined) throw new Error("the end has begun");
      const started = begin().then((value) => {
        endings.push(endingOf(value));
        return value;
      });
      starting.add(started);
      return started.finally(() => starting.delete(started));
    },
    end,
  };
}
