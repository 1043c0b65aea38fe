import { Failure } from "@scriptorium/shared";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Accounts, Caller, Origin } from "../identity/accounts.ts";

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller | undefined;
  }
}

const DEVICE_CHARS = 200;

/** Every route of this scope needs a living session. Runs before the body is read. */
export function requireCaller(scope: FastifyInstance, accounts: Pick<Accounts, "authenticate">): void {
  scope.addHook("onRequest", async (request) => {
    const [scheme, token, ...rest] = (request.headers.authorization ?? "").split(" ");
    if (scheme?.toLowerCase() !== "bearer" || token === undefined || rest.length > 0) {
      throw new Failure("unauthenticated");
    }
    request.caller = await accounts.authenticate(token);
  });
}

export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === undefined)
    throw new Error("a route that needs a caller is outside of requireCaller");
  return request.caller;
}

export function originOf(request: FastifyRequest): Origin {
  return { ip: request.ip, device: (request.headers["user-agent"] ?? "").slice(0, DEVICE_CHARS) };
}
