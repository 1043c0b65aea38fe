/** What waking-connection.ts uses of the driver beyond its public types. */
declare module "mongodb/lib/cmap/connection.js" {
  import type { Socket } from "node:net";

  export const Connection: new (socket: Socket, options: object) => object;
}
