import { sleep } from "../../collab/generator/fleet.ts";
import { createDocuments, door, metric, signIn, startOurs } from "../../collab/peers/ours.ts";
import { makeDirectory, removeDirectory } from "../../collab/processes.ts";
import type { Services } from "../services.ts";
import type { ClusterPeer, RunningCluster } from "./peer.ts";

const JOINED_MS = 20_000;
const POLL_MS = 50;

/** Until every node hears the bus and knows of the others. */
async function allJoined(bases: readonly string[]): Promise<void> {
  const deadline = performance.now() + JOINED_MS;
  for (const base of bases) {
    const joined = async (): Promise<boolean> =>
      (await metric(base, "bus_up")) === 1 && (await metric(base, "nodes_others")) === bases.length - 1;
    while (!(await joined())) {
      if (performance.now() > deadline) throw new Error("the nodes do not find each other");
      await sleep(POLL_MS);
    }
  }
}

/** `server/src/main.ts` as shipped, as often as there are nodes. */
export const createOurs = (services: Services): ClusterPeer => ({
  name: "ours",
  services,
  start: async (nodes) => {
    const directory = makeDirectory();
    const database = services.newDatabase();
    const env = { MONGODB_URL: database.url, REDIS_URL: services.redis.url, DATA_DIR: directory };
    const started: Awaited<ReturnType<typeof startOurs>>[] = [];
    const stop = async (): Promise<void> => {
      await Promise.all(started.map(({ child }) => child.stop()));
      await database.drop();
      removeDirectory(directory);
    };
    try {
      while (started.length < nodes) started.push(await startOurs(env));
      await allJoined(started.map(({ base }) => base));
      return await openCluster(started, stop);
    } catch (error) {
      await stop();
      throw error;
    }
  },
});

async function openCluster(
  started: readonly Awaited<ReturnType<typeof startOurs>>[],
  stop: () => Promise<void>,
): Promise<RunningCluster> {
  const first = started[0];
  if (first === undefined) throw new Error("a cluster has a node");
  // The same person at every node.
  const session = await signIn(first.base);
  return {
    nodes: started.map(({ child, base }) => ({
      pid: child.pid,
      writes: async () => (await metric(base, "collab_commits")) ?? Number.NaN,
      kill: child.kill,
    })),
    createDocuments: (count) => createDocuments(session, count),
    door: (document, node) => door({ ...session, base: started[node]?.base ?? "" }, "hocuspocus", document),
    stop,
  };
}
