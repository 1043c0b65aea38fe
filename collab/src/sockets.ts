import type { Link } from "./link.ts";

const SWEEP_MS = 500;
/** How long the closing of all sockets is spread at most: the provider's first retry comes one fixed second later. */
const SPREAD_MS = 3_000;

export interface Sockets {
  readonly links: ReadonlySet<Link>;
  add(link: Link): void;
  remove(link: Link): void;
  bufferedBytes(): number;
  /** Closes all with 1012, spread over at most a third of the time that is left. */
  closeInSpread(leftMs: number): Promise<void>;
  stop(): void;
}

/** All open sockets, and the one timer that looks after them. */
export function createSockets(deps: { steady: () => number; heartbeatMs: number }): Sockets {
  const { steady, heartbeatMs } = deps;
  const links = new Set<Link>();
  let lastHeartbeat = steady();
  const sweeper = setInterval(() => {
    const at = steady();
    const heartbeat = at - lastHeartbeat >= heartbeatMs;
    if (heartbeat) lastHeartbeat = at;
    for (const link of links) link.sweep(at, heartbeat);
  }, SWEEP_MS);

  return {
    links,
    add: (link) => void links.add(link),
    remove: (link) => void links.delete(link),
    bufferedBytes: () => [...links].reduce((sum, link) => sum + link.bufferedBytes, 0),
    async closeInSpread(leftMs) {
      const open = [...links];
      const spreadMs = Math.min(SPREAD_MS, leftMs / 3);
      const started = steady();
      for (const [index, link] of open.entries()) {
        const due = (index / open.length) * spreadMs - (steady() - started);
        if (due > 1) await new Promise((resolve) => setTimeout(resolve, due));
        link.refuse("restarting", "");
      }
    },
    stop: () => clearInterval(sweeper),
  };
}
