import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { newId } from "@scriptorium/shared";
import type { Door } from "../generator/member.ts";
import { startChild } from "../processes.ts";
import type { Peer } from "./peer.ts";

/** As long as ours, because every message carries it. */
export const newName = (): string => `notes:${newId()}`;
/** About the length of an access token of ours. */
export const TOKEN = "t".repeat(300);
const READY = /ready at (\d+)/;

const entry = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

export const stock: Peer = {
  name: "stock",
  acks: true,
  stores: true,
  start: async ({ directory, store }) => {
    const child = startChild({
      args: [entry("stock-server.ts")],
      env: store ? { STORE_DIR: directory } : {},
      ipc: true,
    });
    const port = Number((await child.line(READY))[1]);
    const door = (document: string): Door => ({
      protocol: "hocuspocus",
      host: "127.0.0.1",
      port,
      path: "/",
      document,
      token: TOKEN,
    });
    return {
      pid: child.pid,
      createDoors: (count) => Promise.resolve(Array.from({ length: count }, () => door(newName()))),
      reopen: ({ document }) => Promise.resolve(door(document)),
      storedBytes: async () => {
        const answer = once(child.process, "message");
        child.process.send("stored");
        return Number((await answer)[0]);
      },
      stop: child.stop,
      kill: child.kill,
    };
  },
};

export const yWebsocket: Peer = {
  name: "y-websocket",
  acks: false,
  stores: false,
  start: async () => {
    const child = startChild({ args: [entry("y-websocket-server.ts")] });
    const port = Number((await child.line(READY))[1]);
    const door = (document: string): Door => ({
      protocol: "yjs",
      host: "127.0.0.1",
      port,
      path: `/${document}`,
      document,
      token: "",
    });
    return {
      pid: child.pid,
      createDoors: (count) => Promise.resolve(Array.from({ length: count }, () => door(newName()))),
      reopen: ({ document }) => Promise.resolve(door(document)),
      storedBytes: () => Promise.resolve(undefined),
      stop: child.stop,
      kill: child.kill,
    };
  },
};
