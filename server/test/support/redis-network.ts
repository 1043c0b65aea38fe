import { randomBytes } from "node:crypto";
import { newId, type Bus } from "@scriptorium/shared";
import type { BusNetwork, Opened } from "@scriptorium/shared/testing";
import { createRedisBus, type RedisBusLimits } from "../../src/bus/redis.ts";
import { startProxy, type Proxy } from "./proxy.ts";
import type { RedisServer } from "../../src/testing/redis.ts";
import { until } from "./site.ts";

/** Nodes of one installation on one Redis, each behind a proxy of its own. */
export interface RedisNetwork extends BusNetwork {
  /** As `join`, without waiting until it is up. */
  begin(options?: NodeOptions): Promise<Bus>;
  proxyOf(bus: Bus): Proxy;
  readonly prefix: string;
  readonly secret: Uint8Array;
  /** What all of them have logged. */
  readonly logged: readonly LoggedLine[];
}

export interface LoggedLine {
  readonly level: "info" | "warn" | "error";
  readonly fields: object;
  readonly message: string;
}

interface NodeOptions {
  readonly prefix?: string;
  readonly secret?: Uint8Array;
  readonly limits?: Partial<RedisBusLimits>;
}

/** `limits` are of every node. */
export function createRedisNetwork(
  redis: RedisServer,
  limits: Partial<RedisBusLimits> = {},
): Opened<RedisNetwork> {
  const proxies = new Map<Bus, Proxy>();
  const logged: LoggedLine[] = [];
  const keep = (level: LoggedLine["level"]) => (fields: object, message: string) =>
    void logged.push({ level, fields, message });
  const [prefix, secret] = [`scriptorium:${newId()}:`, randomBytes(32)];

  const proxyOf = (bus: Bus): Proxy => {
    const proxy = proxies.get(bus);
    if (proxy === undefined) throw new Error("this bus is of another network");
    return proxy;
  };
  const begin = async (options: NodeOptions = {}): Promise<Bus> => {
    const proxy = await startProxy();
    proxy.open(redis.port);
    const url = new URL(redis.url);
    url.host = new URL(proxy.wsUrl).host;
    const log = { info: keep("info"), warn: keep("warn"), error: keep("error") };
    const bus = createRedisBus({
      url: url.href,
      prefix,
      secret,
      log,
      ...options,
      limits: { ...limits, ...options.limits },
    });
    proxies.set(bus, proxy);
    return bus;
  };
  return {
    subject: {
      begin,
      async join() {
        const bus = await begin();
        await until(() => bus.state === "up", "the bus comes up", 30_000);
        return bus;
      },
      proxyOf,
      cut: (bus) => proxyOf(bus).shut(),
      heal: (bus) => proxyOf(bus).open(redis.port),
      prefix,
      secret,
      logged,
    },
    async close() {
      await Promise.all([...proxies].map(([bus, proxy]) => Promise.all([bus.close(), proxy.stop()])));
    },
  };
}
