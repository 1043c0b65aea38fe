import type { Room } from "./room.ts";
import type { Serial } from "./serial.ts";
import { compact, type CompactionDeps } from "./snapshot.ts";

export interface Compaction {
  readonly deps: CompactionDeps;
  /** Moves the rows of a live document into a part; never rejects, a failure waits for the next trigger. */
  run(room: Room): Promise<void>;
  count(): number;
  storedBytes(): number;
  /** Resolves when no compaction is running. */
  stop(): Promise<void>;
}

/** How long a failed compaction is left alone. Rows are safe meanwhile; only loading gets slower. */
const RETRY_MS = 30_000;

/** One compaction at a time per process: it is background work and must not crowd out commits. */
export function createCompaction(deps: CompactionDeps, serial: Serial): Compaction {
  let tail: Promise<void> = Promise.resolve();
  let count = 0;
  let bytes = 0;
  let stopped = false;

  async function once(room: Room): Promise<void> {
    const { name } = room.document;
    if (stopped || room.ended) return;
    const taken = { ...room.rowsSince };
    try {
      const result = await serial(name, () => compact(deps, name));
      count += 1;
      bytes += result.partBytes;
      room.rowsSince.count = Math.max(0, room.rowsSince.count - taken.count);
      room.rowsSince.bytes = Math.max(0, room.rowsSince.bytes - taken.bytes);
      room.compacting = false;
      deps.log.info({ document: name, ...result }, "compacted");
    } catch (error) {
      deps.log.error({ err: error, document: name }, "compaction failed; rows stay");
      setTimeout(() => (room.compacting = false), RETRY_MS).unref();
    }
  }

  return {
    deps,
    run(room) {
      room.compacting = true;
      // Wait for the log: rows that are not committed yet cannot be compacted and would trigger at once again.
      const committed = new Promise<void>((resolve) => {
        room.log.whenCommitted(room.lastPosition, { committed: resolve });
      });
      const before = tail;
      tail = (async () => {
        await before;
        await committed;
        await once(room);
      })();
      return tail;
    },
    count: () => count,
    storedBytes: () => bytes,
    async stop() {
      stopped = true;
      await tail;
    },
  };
}
