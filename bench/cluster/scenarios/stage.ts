import { startGenerator } from "../../collab/generator/call.ts";
import type { Generator } from "../../collab/generator/call.ts";
import type { FleetVerdict, Mark, TypingLoad } from "../../collab/generator/fleet.ts";
import { sleep } from "../../collab/generator/fleet.ts";
import type { Door } from "../../collab/generator/member.ts";
import { sum } from "../../collab/measure/stats.ts";
import { between, demandComplete } from "../../collab/scenarios/scenario.ts";
import type { Metric, Round, Scenario, Values } from "../../collab/scenarios/scenario.ts";
import type { ClusterPeer, RunningCluster } from "../peers/peer.ts";
import type { RedisCounts } from "../services.ts";

export type ClusterRound = Round<ClusterPeer>;

export interface ClusterScenario extends Scenario<ClusterPeer> {
  /** In a full run; some figures are counts, which are the same in every round. */
  readonly rounds: number;
}

interface Stage {
  readonly cluster: RunningCluster;
  readonly generator: Generator;
}

/** Fresh nodes on an empty database and a fresh generator, and nothing left of them afterwards. */
export async function onCluster<T>(
  { peer }: ClusterRound,
  nodes: number,
  play: (stage: Stage) => Promise<T>,
): Promise<T> {
  const generator = await startGenerator();
  let cluster: RunningCluster | undefined;
  try {
    cluster = await peer.start(nodes);
    return await play({ cluster, generator });
  } finally {
    await generator.stop();
    await cluster?.stop();
  }
}

/** Where the clients of a document are: each at its own node, in turn, beginning with another one for each document. */
export function doorsInTurn(cluster: RunningCluster, documents: readonly string[], clients: number): Door[] {
  const nodes = cluster.nodes.length;
  return documents.flatMap((document, index) =>
    Array.from({ length: Math.min(clients, nodes) }, (_, place) =>
      cluster.door(document, (index + place) % nodes),
    ),
  );
}

export interface Typing extends TypingLoad {
  readonly nodes: number;
  readonly documents: number;
  /** Of each document, as are the writers. */
  readonly clients: number;
  readonly writers: number;
}

/** Everything that is counted, at one moment. */
interface Point {
  readonly mark: Mark;
  readonly redis: RedisCounts;
  readonly writes: number;
}

async function takePoint({ cluster, generator }: Stage, { peer }: ClusterRound): Promise<Point> {
  const watched = { servers: cluster.nodes.map(({ pid }) => pid), beside: peer.services.pids };
  const writes = sum(await Promise.all(cluster.nodes.map((node) => node.writes())));
  const redis = await peer.services.redisCounts();
  return { mark: await generator.call("mark", watched), redis, writes };
}

/** A steady load: warm-up, window, and then everything must have arrived everywhere. */
export async function typeOnCluster(round: ClusterRound, typing: Typing): Promise<Values> {
  const { pace, peer, seed } = round;
  return await onCluster(round, typing.nodes, async (stage) => {
    const { cluster, generator } = stage;
    const documents = await cluster.createDocuments(typing.documents);
    await generator.call("openFleet", {
      doors: doorsInTurn(cluster, documents, typing.clients),
      clientsPerDocument: typing.clients,
      writersPerDocument: typing.writers,
      seed,
    });
    await generator.call("type", typing);
    await sleep(pace.warmMs);
    const from = await takePoint(stage, round);
    await sleep(pace.windowMs);
    const to = await takePoint(stage, round);
    const verdict = await generator.call("settle", pace.settleMs);
    demandComplete(verdict, true);
    return valuesOf({ from, to, typing, verdict, peer });
  });
}

interface Window {
  readonly from: Point;
  readonly to: Point;
  readonly typing: Typing;
  readonly verdict: FleetVerdict;
  readonly peer: ClusterPeer;
}

function valuesOf({ from, to, typing, verdict }: Window): Values {
  const seconds = (to.mark.atMs - from.mark.atMs) / 1000;
  const sent = to.mark.sent - from.mark.sent;
  const far = to.mark.farDeliveries - from.mark.farDeliveries;
  const servers = to.mark.serverCpuSeconds - from.mark.serverCpuSeconds;
  const beside = (name: string): number =>
    (to.mark.besideCpuSeconds[name] ?? 0) - (from.mark.besideCpuSeconds[name] ?? 0);
  const planned = typing.documents * typing.writers * typing.updatesPerSecond * seconds;
  const perMillion = (cpu: number): number => (cpu / far) * 1e6;
  return {
    ...between(from.mark, to.mark),
    cpuPerMillionFar: perMillion(servers),
    redisCpuPerMillionFar: perMillion(beside("redis")),
    storeCpuPerMillionFar: perMillion(beside("store")),
    farP50Ms: to.mark.farP50Ms,
    farP99Ms: to.mark.farP99Ms,
    coresPerNode: servers / seconds / typing.nodes,
    redisCores: beside("redis") / seconds,
    storeCores: beside("store") / seconds,
    publishesPerSecond: (to.redis.publishes - from.redis.publishes) / seconds,
    publishesPerUpdate: (to.redis.publishes - from.redis.publishes) / sent,
    redisBytesPerUpdate:
      (to.redis.bytesIn - from.redis.bytesIn + to.redis.bytesOut - from.redis.bytesOut) / sent,
    writesPerSecond: (to.writes - from.writes) / seconds,
    updatesPerSecond: sent / seconds,
    typedShare: (sent / planned) * 100,
    settleMs: verdict.settleMs,
  };
}

/** What a node and its services do. */
export const LOAD_METRICS: readonly Metric[] = [
  { key: "coresPerNode", label: "cores of each node", better: "lower" },
  { key: "redisCores", label: "cores of Redis", better: "lower" },
  { key: "storeCores", label: "cores of the store", better: "info" },
  { key: "publishesPerSecond", label: "PUBLISH per s", better: "lower" },
  { key: "publishesPerUpdate", label: "PUBLISH per update", better: "lower" },
  { key: "redisBytesPerUpdate", label: "bytes in and out of Redis per update", better: "lower" },
  {
    key: "writesPerSecond",
    label: "writes to the store per s (ours: commits; stock: documents)",
    better: "info",
  },
  { key: "updatesPerSecond", label: "updates per s", better: "info" },
  { key: "farP50Ms", label: "cross-node p50 ms", better: "lower" },
  { key: "farP99Ms", label: "cross-node p99 ms", better: "lower" },
  { key: "ackP50Ms", label: "ack p50 ms (ours: in the store)", better: "info" },
  { key: "typedShare", label: "typed, % of planned", better: "info" },
  { key: "generatorCores", label: "generator cores", better: "info" },
];
