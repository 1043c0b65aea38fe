import { startGenerator } from "../generator/call.ts";
import type { Generator } from "../generator/call.ts";
import type { FleetVerdict, Mark } from "../generator/fleet.ts";
import type { Peer, PeerName, RunningPeer } from "../peers/peer.ts";
import { makeDirectory, removeDirectory } from "../processes.ts";

/** One figure of a cell. */
export interface Metric {
  readonly key: string;
  readonly label: string;
  /** Which way is better; `info` says how the run went and is not compared. */
  readonly better: "lower" | "higher" | "info";
  /** What the research aims for, as ours over stock; absolute goals are in the label. */
  readonly goal?: number;
}

export type Values = Record<string, number>;

/** What is measured has a name, by which it is compared. */
export interface Named {
  readonly name: PeerName;
}

export interface Round<P extends Named = Peer> {
  readonly peer: P;
  readonly seed: number;
  readonly pace: Pace;
}

/** How long things last. */
export interface Pace {
  readonly warmMs: number;
  readonly windowMs: number;
  readonly stepMs: number;
  readonly settleMs: number;
  /** Bytes that go past a stopped reader. */
  readonly stoppedBytes: number;
  readonly quick: boolean;
}

/** One configuration, measured afresh for every peer in every round. */
export interface Cell<P extends Named = Peer> {
  readonly name: string;
  readonly metrics: readonly Metric[];
  /** Why this peer cannot be measured here; undefined when it can. */
  readonly skips?: (peer: P) => string | undefined;
  readonly measure: (round: Round<P>) => Promise<Values>;
}

export interface Scenario<P extends Named = Peer> {
  readonly name: string;
  readonly title: string;
  readonly cells: (pace: Pace) => Cell<P>[];
}

export interface Stage {
  readonly server: RunningPeer;
  readonly generator: Generator;
  readonly directory: string;
}

/** A fresh server and a fresh generator, and nothing left of them afterwards. */
export async function onStage<T>(peer: Peer, store: boolean, play: (stage: Stage) => Promise<T>): Promise<T> {
  const directory = makeDirectory();
  const generator = await startGenerator();
  let server: RunningPeer | undefined;
  try {
    server = await peer.start({ directory, store });
    return await play({ server, generator, directory });
  } finally {
    await generator.stop();
    await server?.stop();
    removeDirectory(directory);
  }
}

/** What lies between two marks. */
export function between(from: Mark, to: Mark): Values {
  const seconds = (to.atMs - from.atMs) / 1000;
  const cpu = to.serverCpuSeconds - from.serverCpuSeconds;
  const deliveries = to.deliveries - from.deliveries;
  return {
    cpuPerMillion: (cpu / deliveries) * 1e6,
    deliveriesPerCpuSecond: deliveries / cpu / 1000,
    deliveriesPerSecond: deliveries / seconds / 1000,
    cores: cpu / seconds,
    generatorCores: (to.generatorCpuSeconds - from.generatorCpuSeconds) / seconds,
    p50Ms: to.p50Ms,
    p99Ms: to.p99Ms,
    ackP50Ms: to.ackP50Ms,
    ackP99Ms: to.ackP99Ms,
    bytesPerDelivery: (to.bytesIn - from.bytesIn) / deliveries,
    acks: to.acks - from.acks,
    sent: to.sent - from.sent,
  };
}

/** Throws when a server did not do its work: a figure without it would mean nothing. */
export function demandComplete(verdict: FleetVerdict, acks: boolean): void {
  const faults = [
    verdict.closed > 0 && `${verdict.closed} connections closed (${verdict.closedBecause})`,
    verdict.missing > 0 && `${verdict.missing} letters missing at ${verdict.behind} clients`,
    verdict.different > 0 && `${verdict.different} of ${verdict.replayed} replayed documents differ`,
    acks && verdict.acks < verdict.sent && `${verdict.acks} acks for ${verdict.sent} updates`,
  ].filter((fault) => fault !== false);
  if (faults.length > 0) throw new Error(faults.join("; "));
}
