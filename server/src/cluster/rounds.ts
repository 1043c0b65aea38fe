/** Work that is done again and again, and at once when somebody asks; never twice at the same time. */
export interface Rounds {
  /** A round that begins after this call: of all who ask while one is under way, the next one serves all. */
  run(): Promise<void>;
  /** The same for whoever does not wait for it; `onFailure` is told. */
  soon(): void;
  /** Repeats it until the stop. */
  start(): void;
  /** No further round; resolves when the one under way has ended. */
  stop(): Promise<void>;
}

export interface RoundsDeps {
  readonly work: () => Promise<void>;
  /** From the end of a round to the next. */
  readonly everyMs: number;
  /** The pause doubles with each failure, up to this. */
  readonly slowestMs: number;
  readonly onFailure: (error: unknown) => void;
}

export function createRounds({ work, everyMs, slowestMs, onFailure }: RoundsDeps): Rounds {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const begin = async (): Promise<void> => {
    try {
      if (!stopped) await work();
    } finally {
      running = undefined;
    }
  };
  const run = (): Promise<void> => {
    if (next !== undefined) return next;
    if (running === undefined) return (running = begin());
    const afterThat = () => {
      next = undefined;
      return (running = begin());
    };
    next = running.then(afterThat, afterThat);
    return next;
  };
  const later = (pauseMs: number): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      run().then(
        () => later(everyMs),
        (error: unknown) => {
          onFailure(error);
          later(Math.min(pauseMs * 2, slowestMs));
        },
      );
    }, pauseMs).unref();
  };

  return {
    run,
    soon: () => void run().catch(onFailure),
    start: () => later(everyMs),
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await Promise.allSettled([running, next]);
    },
  };
}
