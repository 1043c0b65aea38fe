import { sleep } from "../../collab/generator/fleet.ts";
import { createRandom } from "../../collab/measure/stats.ts";
import type { Metric, Values } from "../../collab/scenarios/scenario.ts";
import { onCluster } from "./stage.ts";
import type { ClusterRound, ClusterScenario } from "./stage.ts";

/** kill -9 of the node of the one who types: what is left of what was acknowledged. */

const UPDATES_PER_SECOND = 20;
/** Typing before the crash, at random in this range; stock stores after 2 s without typing, after 10 s at the latest. */
const CRASH_AFTER_MS = { least: 2_000, most: 8_000 };
const LAST_ACKS_MS = 300;
/** After the last client has left: longer than stock takes to store and unload a document. */
const LEFT_MS = 4_000;

interface Plan {
  /** Whether the reader is at the node that stays. */
  readonly shared: boolean;
}

async function crash(round: ClusterRound, { shared }: Plan): Promise<Values> {
  return await onCluster(round, 2, async ({ cluster, generator }) => {
    const [document] = await cluster.createDocuments(1);
    const [dying] = cluster.nodes;
    if (document === undefined || dying === undefined) throw new Error("no document or no node");
    const doors = (shared ? [0, 1] : [0]).map((node) => cluster.door(document, node));
    const { seed, pace } = round;
    await generator.call("openFleet", { doors, clientsPerDocument: 2, writersPerDocument: 1, seed });
    await generator.call("type", { updatesPerSecond: UPDATES_PER_SECOND, cursorsPerSecond: 0 });
    const { least, most } = CRASH_AFTER_MS;
    await sleep((least + createRandom(seed)() * (most - least)) * (pace.quick ? 0.5 : 1));
    await dying.kill();
    await sleep(LAST_ACKS_MS);
    const { acks, sent } = await generator.call("settle", 0);
    await generator.call("closeFleet");
    if (shared) await sleep(LEFT_MS);
    const input = { door: cluster.door(document, 1), letters: undefined, times: 1 };
    const restored = (await generator.call("open", input))[0]?.clocks ?? Number.NaN;
    return { lost: Math.max(0, acks - restored), acks, sent, restored };
  });
}

const METRICS: readonly Metric[] = [
  { key: "lost", label: "acknowledged edits lost (goal: 0)", better: "lower" },
  { key: "acks", label: "acknowledged before the crash", better: "info" },
  { key: "restored", label: "there when it is opened at the other node", better: "info" },
];

export const crashes: ClusterScenario = {
  name: "crash",
  title: "kill -9 of the node where one person types 20 letters per second",
  rounds: 5,
  cells: () => [
    {
      name: "open at the killed node alone",
      metrics: METRICS,
      measure: (round) => crash(round, { shared: false }),
    },
    {
      name: "open at both; all leave, and it is opened again",
      metrics: METRICS,
      measure: (round) => crash(round, { shared: true }),
    },
  ],
};
