import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";

/** y-websocket's server as its own `bin/server.cjs` sets it up, in memory, on any free port. */

interface ServerUtils {
  readonly setupWSConnection: (socket: WebSocket, request: IncomingMessage) => void;
}

const require = createRequire(new URL("../../peers/y-websocket/package.json", import.meta.url));
/** Not a dependency of this package: see bench/peers/y-websocket. */
const UTILS = "y-websocket/bin/utils";
const { setupWSConnection }: ServerUtils = require(UTILS);

const sockets = new WebSocketServer({ noServer: true });
sockets.on("connection", setupWSConnection);
const server = createServer((_request, response) => response.end("okay"));
server.on("upgrade", (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (opened) => sockets.emit("connection", opened, request));
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object") console.log(`ready at ${address?.port}`);
});
