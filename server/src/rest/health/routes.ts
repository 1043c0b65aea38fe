import { Failure } from "@scriptorium/shared";
import type { FastifyPluginAsync } from "fastify";
import { Gauge, Registry, collectDefaultMetrics } from "prom-client";

/** What an operator and a load balancer ask. */
export interface HealthDeps {
  /** Why the server should get no new work now, or undefined. */
  readonly unready: () => "draining" | "store" | undefined;
  /** What does not work as it should, though the server does: it is slower, and worth a look. */
  readonly degraded: () => "bus" | undefined;
  /** Numbers by name; each becomes the gauge `scriptorium_<room>_<name>`. */
  readonly stats: () => Readonly<Record<string, object>>;
}

export function healthRoutes(deps: HealthDeps): FastifyPluginAsync {
  return async (app) => {
    const registry = new Registry();
    collectDefaultMetrics({ register: registry });
    const gauges = new Map<string, Gauge>();
    const set = (name: string, value: number) => {
      const gauge =
        gauges.get(name) ?? new Gauge({ name, help: name.replaceAll("_", " "), registers: [registry] });
      gauges.set(name, gauge);
      gauge.set(value);
    };

    const hide = { schema: { hide: true }, logLevel: "warn" as const };
    app.get("/healthz", hide, async () => ({ status: "ok" }));
    app.get("/readyz", hide, async () => {
      const reason = deps.unready();
      if (reason === "draining") throw new Failure("restarting");
      if (reason === "store") throw new Failure("try_later", "The store does not answer");
      const lacking = deps.degraded();
      return lacking === undefined ? { status: "ready" } : { status: "degraded", reason: lacking };
    });
    app.get("/metrics", hide, async (_request, reply) => {
      for (const [room, numbers] of Object.entries(deps.stats())) {
        for (const [name, value] of Object.entries(numbers)) {
          if (typeof value === "number") set(`scriptorium_${room}_${snake(name)}`, value);
        }
      }
      set("scriptorium_ready", deps.unready() === undefined ? 1 : 0);
      set("scriptorium_degraded", deps.degraded() === undefined ? 0 : 1);
      return reply.type(registry.contentType).send(await registry.metrics());
    });
  };
}

const snake = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
