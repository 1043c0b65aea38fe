import type { createRandom } from "../measure/stats.ts";

/** Somebody who acts at a rate, at irregular moments, like a person. */
export interface Actor {
  readonly act: (now: number) => void;
  /** Mean time between two acts. */
  readonly everyMs: number;
}

export interface Load {
  stop(): void;
}

const TICK_MS = 1;
/** After a stall of the generator an actor does not make up for more than this. */
const CATCH_UP_MS = 100;

/** Gaps are uniform in 0.5..1.5 of the mean, phases random: no two servers see a friendlier rhythm than the others. */
export function startActors(actors: readonly Actor[], random: ReturnType<typeof createRandom>): Load {
  const begin = performance.now();
  const due = actors.map(({ everyMs }) => begin + random() * everyMs);
  const timer = setInterval(() => {
    const now = performance.now();
    for (const [index, actor] of actors.entries()) {
      let at = due[index] ?? now;
      if (at > now) continue;
      at = Math.max(at, now - CATCH_UP_MS);
      for (; at <= now; at += actor.everyMs * (0.5 + random())) actor.act(performance.now());
      due[index] = at;
    }
  }, TICK_MS);
  return {
    stop: () => {
      clearInterval(timer);
    },
  };
}

export interface Flood {
  readonly writers: readonly ((now: number) => void)[];
  readonly perSecond: number;
  /** The flood waits while more than this is under way, so that a server past its limit is not buried. */
  readonly inFlight: () => number;
  readonly maxInFlight: number;
}

/** Everybody in turn, as fast as asked for. */
export function startFlood(flood: Flood): Load {
  let next = 0;
  let last = performance.now();
  let owed = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    owed = Math.min(owed + ((now - last) * flood.perSecond) / 1000, (flood.perSecond * CATCH_UP_MS) / 1000);
    last = now;
    const room = flood.maxInFlight - flood.inFlight();
    for (let count = Math.min(Math.floor(owed), room); count > 0; count -= 1) {
      flood.writers[next]?.(performance.now());
      next = (next + 1) % flood.writers.length;
      owed -= 1;
    }
  }, TICK_MS);
  return {
    stop: () => {
      clearInterval(timer);
    },
  };
}
