import type { FastifyPluginAsync } from "fastify";
import type { Keys } from "../../identity/keys.ts";

/** The public keys of access tokens, for other services of the installation. */
export function jwksRoute({ keys }: { keys: Keys }): FastifyPluginAsync {
  return async (app) => {
    app.get("/.well-known/jwks.json", { schema: { hide: true } }, async (_request, reply) => {
      const live = await keys.live();
      return reply.header("cache-control", "public, max-age=300").send({
        keys: live.map((key) => ({ ...key.publicJwk, kid: key.kid, use: "sig", alg: "ES256" })),
      });
    });
  };
}
