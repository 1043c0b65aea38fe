import { sleep } from "../../collab/generator/fleet.ts";
import { createHistogram } from "../../collab/measure/histogram.ts";
import { demandComplete } from "../../collab/scenarios/scenario.ts";
import type { Values } from "../../collab/scenarios/scenario.ts";
import type { RedisCounts } from "../services.ts";
import { doorsInTurn, onCluster, typeOnCluster } from "./stage.ts";
import type { ClusterRound, ClusterScenario } from "./stage.ts";

/** Lone keystrokes: what each sends through Redis, and how long it takes to the other node. */

const KEYSTROKES_PER_SECOND = 4;
/** Joining is answered within a tenth of a second; stock's locks of the first store are gone by then. */
const CALM_MS = 2_000;

async function countPublishes(round: ClusterRound, nodes: number): Promise<Values> {
  const { services } = round.peer;
  return await onCluster(round, nodes, async ({ cluster, generator }) => {
    const documents = await cluster.createDocuments(1);
    const clientsPerDocument = Math.max(2, nodes);
    await generator.call("openFleet", {
      doors: doorsInTurn(cluster, documents, clientsPerDocument),
      clientsPerDocument,
      writersPerDocument: 1,
      seed: round.seed,
    });
    await sleep(CALM_MS);
    const calm = await services.redisCounts();
    await sleep(round.pace.windowMs);
    const idle = difference(calm, await services.redisCounts());
    const before = await services.redisCounts();
    await generator.call("type", { updatesPerSecond: KEYSTROKES_PER_SECOND, cursorsPerSecond: 0 });
    await sleep(round.pace.windowMs);
    const all = difference(before, await services.redisCounts());
    const verdict = await generator.call("settle", round.pace.settleMs);
    demandComplete(verdict, true);
    const typed = difference(idle, all);
    const perSecond = 1000 / round.pace.windowMs;
    return {
      publishes: typed.publishes / verdict.sent,
      bytesIn: typed.bytesIn / verdict.sent,
      bytesOut: typed.bytesOut / verdict.sent,
      commands: typed.commands / verdict.sent,
      idlePublishesPerSecond: idle.publishes * perSecond,
      idleBytesPerSecond: (idle.bytesIn + idle.bytesOut) * perSecond,
      keystrokes: verdict.sent,
    };
  });
}

function difference(from: RedisCounts, to: RedisCounts): RedisCounts {
  return {
    publishes: to.publishes - from.publishes,
    commands: to.commands - from.commands,
    bytesIn: to.bytesIn - from.bytesIn,
    bytesOut: to.bytesOut - from.bytesOut,
  };
}

export const publishes: ClusterScenario = {
  name: "publishes",
  title: "One document, open at every node, one person types alone",
  rounds: 1,
  cells: ({ quick }) =>
    (quick ? [1, 2] : [1, 2, 3, 4]).map((nodes) => ({
      name: `nodes: ${nodes}`,
      metrics: [
        { key: "publishes", label: "PUBLISH per keystroke, beyond those of idle nodes", better: "lower" },
        { key: "bytesIn", label: "bytes into Redis per keystroke", better: "lower" },
        { key: "bytesOut", label: "bytes out of Redis per keystroke", better: "lower" },
        { key: "commands", label: "commands per keystroke", better: "lower" },
        { key: "idlePublishesPerSecond", label: "PUBLISH per s while nobody types", better: "info" },
        { key: "idleBytesPerSecond", label: "bytes in and out per s while nobody types", better: "info" },
        { key: "keystrokes", label: "keystrokes", better: "info" },
      ],
      measure: (round) => countPublishes(round, nodes),
    })),
};

const INSERTS = 100;

async function timeKeystrokes(round: ClusterRound): Promise<Values> {
  const inserts = createHistogram();
  for (const ms of await round.peer.services.timeInserts(INSERTS)) inserts.add(ms);
  const load = { documents: 1, clients: 2, writers: 1, cursorsPerSecond: 0 };
  const longer = { ...round.pace, windowMs: round.pace.windowMs * 2 };
  const values = await typeOnCluster(
    { ...round, pace: longer },
    { nodes: 2, ...load, updatesPerSecond: KEYSTROKES_PER_SECOND },
  );
  return {
    ...values,
    beyondAckMs: (values["farP50Ms"] ?? Number.NaN) - (values["ackP50Ms"] ?? Number.NaN),
    insertP50Ms: inserts.percentile(0.5),
    insertP99Ms: inserts.percentile(0.99),
  };
}

export const latency: ClusterScenario = {
  name: "latency",
  title: "A lone person at one node, a reader at the other (under load: see cost)",
  rounds: 3,
  cells: () => [
    {
      name: `${KEYSTROKES_PER_SECOND} keystrokes a second`,
      metrics: [
        { key: "farP50Ms", label: "cross-node p50 ms", better: "lower" },
        { key: "farP99Ms", label: "cross-node p99 ms", better: "lower" },
        { key: "ackP50Ms", label: "ack p50 ms (ours: in the store)", better: "info" },
        { key: "ackP99Ms", label: "ack p99 ms (ours: in the store)", better: "info" },
        { key: "beyondAckMs", label: "cross-node p50 beyond the ack's, ms", better: "info" },
        { key: "insertP50Ms", label: "a lone insert by the driver, p50 ms", better: "info" },
        { key: "insertP99Ms", label: "a lone insert by the driver, p99 ms", better: "info" },
      ],
      measure: timeKeystrokes,
    },
  ],
};
