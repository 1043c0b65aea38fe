/** Seeded random numbers: the seed is printed, and a seed that failed is kept as a named test. */
export interface Random {
  readonly seed: number;
  /** A whole number from 0 to below the bound. */
  below(bound: number): number;
  chance(probability: number): boolean;
  /** A source of its own, so that what it draws does not depend on the timing of others. */
  fork(): Random;
}

/** mulberry32, by Tommy Ettinger. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number): number => Math.floor(next() * bound);
  return {
    seed,
    below,
    chance: (probability) => next() < probability,
    fork: () => seeded(below(2 ** 32)),
  };
}
