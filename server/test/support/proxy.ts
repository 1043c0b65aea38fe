import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A loopback address that stays the same over restarts of the server behind it, and that can be cut. */
export interface Proxy {
  readonly wsUrl: string;
  /** Passes connections on to this port from now on. */
  open(port: number): void;
  /** Cuts every connection and refuses new ones until `open`. */
  shut(): void;
  /** Holds back every byte of every connection, new ones too, which stay open, until `flow`. */
  stall(): void;
  flow(): void;
  /** Lets new connections pass; those that are open now stay so, and pass nothing any more. */
  strand(): void;
  /** Delays every byte from now on. */
  lag(ms: number): void;
  /** Cuts every connection, each after up to `bytes` more in either direction, so in the middle of a frame. */
  cut(bytes?: number): void;
  readonly connections: number;
  /** Connections since the start. */
  readonly accepted: number;
  stop(): Promise<void>;
}

interface Pair {
  readonly ends: readonly [Socket, Socket];
  /** Bytes that still pass; undefined: no end. */
  left: number | undefined;
  held: boolean;
}

export async function startProxy(): Promise<Proxy> {
  const pairs = new Set<Pair>();
  let target: number | undefined;
  let stalled = false;
  let accepted = 0;
  let lagMs = 0;
  const end = (pair: Pair): void => {
    for (const socket of pair.ends) socket.destroy();
    pairs.delete(pair);
  };
  const pass = (pair: Pair, [from, to]: readonly [Socket, Socket]): void => {
    from.on("data", (data: Buffer) => {
      if (lagMs > 0) {
        setTimeout(() => to.write(data), lagMs);
        return;
      }
      if (pair.left === undefined) {
        if (!to.write(data)) from.pause();
        return;
      }
      const passed = data.subarray(0, pair.left);
      pair.left -= passed.length;
      if (passed.length === data.length) to.write(passed);
      else to.write(passed, () => end(pair));
    });
    to.on("drain", () => pair.held || from.resume());
    // What has arrived is still delivered: an acknowledgement that left the server counts.
    from.on("end", () => to.end());
    from.on("close", () => to.end(() => end(pair)));
    // The close that follows is all that matters.
    from.on("error", () => undefined);
  };
  // Without noDelay each small write may wait 40 ms for an acknowledgement that is itself delayed.
  const server = createServer({ noDelay: true }, (client) => {
    if (target === undefined) {
      client.destroy();
      return;
    }
    const upstream = connect({ port: target, host: "127.0.0.1", noDelay: true });
    const pair: Pair = { ends: [client, upstream], left: undefined, held: false };
    pairs.add(pair);
    accepted += 1;
    pass(pair, [client, upstream]);
    pass(pair, [upstream, client]);
    hold(pair, stalled);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    wsUrl: `ws://127.0.0.1:${address.port}`,
    open: (port) => {
      target = port;
    },
    shut: () => {
      target = undefined;
      for (const pair of pairs) end(pair);
    },
    stall: () => {
      stalled = true;
      for (const pair of pairs) hold(pair, true);
    },
    flow: () => {
      stalled = false;
      for (const pair of pairs) hold(pair, false);
    },
    strand: () => {
      stalled = false;
      for (const pair of pairs) hold(pair, true);
    },
    lag: (ms) => {
      lagMs = ms;
    },
    cut: (bytes = 0) => {
      for (const pair of pairs) {
        if (bytes === 0) end(pair);
        else pair.left ??= bytes;
      }
    },
    get accepted() {
      return accepted;
    },
    get connections() {
      return pairs.size;
    },
    stop: async () => {
      for (const pair of pairs) end(pair);
      server.close();
      await once(server, "close");
    },
  };
}

function hold(pair: Pair, held: boolean): void {
  pair.held = held;
  for (const socket of pair.ends) {
    if (held) socket.pause();
    else socket.resume();
  }
}
