import { Failure, PatchMeBody, User } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import type { Accounts } from "../../identity/accounts.ts";
import { callerOf, requireCaller } from "../caller.ts";
import { secured } from "../schemas.ts";

const tags = ["users"];
const get = secured({ tags, summary: "Who I am", response: { 200: User } });
const patch = secured({
  tags,
  summary: "Change my names or my password; a new password ends my other sessions",
  body: PatchMeBody,
  response: { 200: User },
});

export function userRoutes({ accounts }: { accounts: Accounts }): FastifyPluginAsyncZod {
  return async (app) => {
    requireCaller(app, accounts);
    app.get("/users/me", get, (request) => accounts.me(callerOf(request).userId));
    app.patch("/users/me", patch, (request) => {
      const { body } = request;
      const credentials = body.username !== undefined || body.newPassword !== undefined;
      if (credentials && body.oldPassword === undefined) {
        throw new Failure("bad_request", "oldPassword is needed to change the user name or the password");
      }
      return accounts.patchMe({ ...callerOf(request), ip: request.ip }, body);
    });
  };
}
