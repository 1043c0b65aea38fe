const FLOOR_MS = 0.01;
const STEP = Math.log(1.02);
const BUCKETS = 900;

/** Times from 0.01 ms to about 9 minutes, each bucket 2 % wider than the one before. */
export interface Histogram {
  add(ms: number): void;
  /** Upper bound of the bucket that holds this share (0..1) of all times; NaN when there are none. */
  percentile(share: number): number;
  count(): number;
  clear(): void;
}

export function createHistogram(): Histogram {
  const buckets = new Uint32Array(BUCKETS);
  let total = 0;
  return {
    add: (ms) => {
      const bucket = ms <= FLOOR_MS ? 0 : Math.ceil(Math.log(ms / FLOOR_MS) / STEP);
      const index = Math.min(bucket, BUCKETS - 1);
      buckets[index] = (buckets[index] ?? 0) + 1;
      total += 1;
    },
    percentile: (share) => {
      let left = share * total;
      for (const [index, count] of buckets.entries()) {
        left -= count;
        if (count > 0 && left <= 0) return FLOOR_MS * Math.exp(index * STEP);
      }
      return Number.NaN;
    },
    count: () => total,
    clear: () => {
      buckets.fill(0);
      total = 0;
    },
  };
}
