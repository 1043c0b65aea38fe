import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/**
 * One person's cable to the server: a TCP proxy that can break WebSockets in the two ways networks break them, while
 * plain HTTP goes on. Chromium's setOffline() leaves an open WebSocket "connected", so it cannot stand for either.
 */
export interface Wire {
  readonly url: string;
  /** Closes the sockets and refuses new ones. */
  cut(): void;
  /** The half-dead network: sockets stay open, new ones are accepted, and no byte passes either way. */
  silence(): void;
  /** Everything passes again; what a silent socket had been given is delivered late. */
  heal(): void;
  /** Like a router that forgot the connection: open sockets are reset, new ones pass. */
  reset(): void;
  close(): Promise<void>;
}

type Mode = "through" | "cut" | "silent";

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

const IS_SOCKET = /^GET \/(collab|yjs)\b/;

export async function openWire(serverPort: number): Promise<Wire> {
  let mode: Mode = "through";
  const all = new Set<Pair>();
  const sockets = new Set<Pair>();

  const join = (pair: Pair): void => {
    pair.client.pipe(pair.server);
    pair.server.pipe(pair.client);
  };
  const part = (pair: Pair): void => {
    pair.client.unpipe(pair.server);
    pair.server.unpipe(pair.client);
    pair.client.pause();
    pair.server.pause();
  };
  const drop = (pair: Pair): void => {
    pair.client.destroy();
    pair.server.destroy();
  };

  const proxy = createServer((client) => {
    const pair = { client, server: connect({ host: "127.0.0.1", port: serverPort }) };
    all.add(pair);
    for (const side of [pair.client, pair.server]) {
      side.setNoDelay(true);
      // A reset is what this proxy is for; either end's end is both ends' end.
      side.on("error", () => drop(pair));
      side.once("close", () => {
        drop(pair);
        all.delete(pair);
        sockets.delete(pair);
      });
    }
    client.once("data", (first: Buffer) => {
      client.pause();
      client.unshift(first);
      if (!IS_SOCKET.test(first.toString("latin1"))) return join(pair);
      if (mode === "cut") return drop(pair);
      sockets.add(pair);
      if (mode === "through") join(pair);
    });
  });
  await new Promise<void>((resolve, reject) => {
    proxy.once("error", reject);
    proxy.listen(0, "127.0.0.1", resolve);
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a listening TCP server has a port
  const { port } = proxy.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}`,
    cut: () => {
      mode = "cut";
      sockets.forEach(drop);
    },
    silence: () => {
      mode = "silent";
      sockets.forEach(part);
    },
    heal: () => {
      const wasSilent = mode === "silent";
      mode = "through";
      if (wasSilent) sockets.forEach(join);
    },
    reset: () => {
      mode = "through";
      sockets.forEach(drop);
    },
    close: () => {
      all.forEach(drop);
      return new Promise((resolve, reject) => {
        proxy.close((error) => (error === undefined ? resolve() : reject(error)));
      });
    },
  };
}
