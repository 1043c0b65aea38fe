import type { Socket } from "node:net";
import { Connection } from "mongodb/lib/cmap/connection.js";

/**
 * After a write that its socket does not take at once, the driver (7.8, 7.9) waits for `drain` and for nothing else. A
 * socket that is closed meanwhile never says that, whether it broke under a large message, was given up by a timeout,
 * or had ended an instant before the write. The operation then never ends and its place in the pool is lost; when it was
 * the monitor's, no server is ever found again, until the process is restarted. Woken by the close instead, the driver
 * finds the error that it has noted for this connection, and goes on as after any broken one.
 */
class WakingConnection extends Connection {
  constructor(socket: Socket, options: object) {
    super(socket, options);
    socket.once("close", () => socket.emit("drain"));
  }
}

/** An option that the driver takes and does not publish. The drill of a server that is cut off fails when it is gone. */
export const WAKING: object = { connectionType: WakingConnection };
