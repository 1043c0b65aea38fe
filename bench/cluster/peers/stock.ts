import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { TOKEN, newName } from "../../collab/peers/stock.ts";
import { startChild } from "../../collab/processes.ts";
import type { Child } from "../../collab/processes.ts";
import type { Services } from "../services.ts";
import type { ClusterPeer } from "./peer.ts";

const ENTRY = fileURLToPath(new URL("stock-server.ts", import.meta.url));
const READY = /ready at (\d+)/;

/** Stock Hocuspocus with its Redis and Database extensions, as often as there are nodes. */
export const createStock = (services: Services): ClusterPeer => ({
  name: "stock",
  services,
  start: async (nodes) => {
    const database = services.newDatabase();
    const env = { MONGODB_URL: database.url, REDIS_PORT: String(services.redis.port) };
    const started: { child: Child; port: number }[] = [];
    const stop = async (): Promise<void> => {
      // SIGTERM stores what its debounce holds, which is none of the measurement.
      await Promise.all(started.map(({ child }) => child.kill()));
      await database.drop();
    };
    try {
      while (started.length < nodes) {
        const child = startChild({ args: [ENTRY], env, ipc: true });
        started.push({ child, port: Number((await child.line(READY))[1]) });
      }
    } catch (error) {
      await stop();
      throw error;
    }
    return {
      nodes: started.map(({ child }) => ({
        pid: child.pid,
        writes: async () => {
          const answer = once(child.process, "message");
          child.process.send("writes");
          return Number((await answer)[0]);
        },
        kill: child.kill,
      })),
      createDocuments: (count) => Promise.resolve(Array.from({ length: count }, newName)),
      door: (document, node) => ({
        protocol: "hocuspocus",
        host: "127.0.0.1",
        port: started[node]?.port ?? 0,
        path: "/",
        document,
        token: TOKEN,
      }),
      stop,
    };
  },
});
