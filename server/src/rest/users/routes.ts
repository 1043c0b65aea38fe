import { Failure, PatchMeBody, User } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import type { Accounts } from "../../identity/accounts.ts";
import { callerOf, requireCaller } from "../caller.ts";
import { PROBLEMS, SECURED } from "../schemas.ts";

const tags = ["users"];

export function userRoutes({ accounts }: { accounts: Accounts }): FastifyPluginAsyncZod {
  return async (app) => {
    requireCaller(app, accounts);
    app.get(
      "/users/me",
      { schema: { ...SECURED, tags, summary: "Who I am", response: { 200: User, ...PROBLEMS } } },
      (request) => accounts.me(callerOf(request).userId),
    );
    app.patch(
      "/users/me",
      {
        schema: {
          ...SECURED,
          tags,
          summary: "Change my names or my password; a new password ends my other sessions",
          body: PatchMeBody,
          response: { 200: User, ...PROBLEMS },
        },
      },
      (request) => {
        const { body } = request;
        const credentials = body.username !== undefined || body.newPassword !== undefined;
        if (credentials && body.oldPassword === undefined) {
          throw new Failure("bad_request", "oldPassword is needed to change the user name or the password");
        }
        return accounts.patchMe({ ...callerOf(request), ip: request.ip }, body);
      },
    );
  };
}
