import type { Bus, Streams } from "@scriptorium/shared";
import type { OpenCollection } from "../storage/ports.ts";
import { createSharedControl } from "./control.ts";
import { createLocalControl, type Control, type ControlLog } from "./events.ts";
import { createNoBus } from "./no-bus.ts";
import { createNodes, type NodesLog } from "./nodes.ts";
import { within } from "./within.ts";

/** This node among those on its store. */
export interface Cluster {
  /** What the collaboration room needs of it; undefined where no other node can be. */
  readonly room:
    | {
        readonly node: string;
        readonly bus: Bus;
        readonly peers: { readonly others: ReadonlySet<string>; readonly cutOff: boolean };
      }
    | undefined;
  readonly control: Pick<Control, "announce" | "start">;
  /** Whether the store could not be asked when that was last tried. */
  readonly storeAway: boolean;
  /** What does not work as it should, though everything that matters does. */
  degraded(): "bus" | undefined;
  /** Numbers by name, for /metrics. */
  stats(): Readonly<Record<string, object>>;
  /** After everything that announces, before the store. The bus that was given is closed with it. */
  stop(): Promise<void>;
}

/** A node that is the only one on its store: nothing is written, nothing is asked. */
export function aloneOnStore({ log }: { log: ControlLog }): Cluster {
  const control = createLocalControl({ log });
  return {
    room: undefined,
    control,
    storeAway: false,
    degraded: () => undefined,
    stats: () => ({}),
    stop: () => control.stop(),
  };
}

export interface ClusterDeps {
  readonly streams: Streams;
  readonly open: OpenCollection;
  readonly node: string;
  /** Undefined where none is configured: then other nodes are found in the store alone. */
  readonly bus: Bus | undefined;
  /** How this version speaks on the bus. */
  readonly wire: string;
  readonly steady: () => number;
  readonly log: ControlLog & NodesLog;
}

/** What a bus may take to come up before the others are told that this node has none yet. */
const BUS_UP_MS = 2_000;

/** Joins the other nodes on a store that many may have open. When it rejects, the bus is closed. */
export async function joinCluster(deps: ClusterDeps): Promise<Cluster> {
  const { node, bus, log } = deps;
  if (bus !== undefined) await whenUp(bus, BUS_UP_MS);
  const nodes = createNodes(deps);
  const control = createSharedControl(deps);
  try {
    await nodes.start();
  } catch (error) {
    await bus?.close();
    throw error;
  }
  const unwatch = bus?.whenChanged((state) => log.warn({ state }, "the bus has changed its state"));
  return {
    room: { node, bus: bus ?? createNoBus(), peers: nodes },
    control,
    get storeAway() {
      return control.failing;
    },
    degraded: () => (bus?.state === "down" ? "bus" : undefined),
    stats: () => ({
      ...(bus === undefined ? {} : { bus: { up: Number(bus.state === "up"), ...bus.stats() } }),
      nodes: { others: nodes.others.size, cutOff: Number(nodes.cutOff) },
      control: control.stats(),
    }),
    async stop() {
      unwatch?.();
      await Promise.allSettled([control.stop()]);
      await nodes.stop();
      await bus?.close();
    },
  };
}

async function whenUp(bus: Bus, ms: number): Promise<void> {
  if (bus.state === "up") return;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const unwatch = bus.whenChanged((state) => {
    if (state === "up") resolve(undefined);
  });
  await within(promise, ms);
  unwatch();
}
