/**
 * Time that stands still while this process does. An event loop that was blocked, or a process that was stopped, finds
 * every deadline passed although nobody was late; here the lost time is left out, up to one beat.
 */
export interface LivedTime {
  now(): number;
  /** To be called by a timer, every `beatMs`. */
  beat(): void;
}

export interface LivedTimeDeps {
  /** Monotonic, in milliseconds. */
  readonly steady: () => number;
  readonly beatMs: number;
}

export function createLivedTime({ steady, beatMs }: LivedTimeDeps): LivedTime {
  let lostMs = 0;
  let dueAt = steady() + beatMs;
  return {
    // Not past the next beat before that has come: what is late then is this process.
    now: () => Math.min(steady() - lostMs, dueAt),
    beat() {
      lostMs += Math.max(0, steady() - lostMs - dueAt);
      dueAt = steady() - lostMs + beatMs;
    },
  };
}
