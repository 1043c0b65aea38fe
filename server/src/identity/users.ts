import { Failure, newId, type Streams, type User } from "@scriptorium/shared";
import type { Collection, Doc, OpenCollection } from "../storage/ports.ts";
import { colorOf } from "./colors.ts";

export interface UserDoc extends Doc {
  readonly username: string;
  /** What makes the name unique: see usernameKey. */
  readonly usernameKey: string;
  readonly displayName: string;
  /** The first one; see stored-passwords.ts. */
  readonly passwordHash: string;
  readonly createdAt: string;
}

export interface Users {
  /** Throws `username_taken`. */
  create(account: { username: string; passwordHash: string }): Promise<UserDoc>;
  get(id: string): Promise<UserDoc | undefined>;
  byName(username: string): Promise<UserDoc | undefined>;
  /** Throws `username_taken`, or `not_found` when there is no such user. */
  patch(id: string, fields: Partial<Pick<UserDoc, "username" | "displayName">>): Promise<UserDoc>;
  /**
   * Makes this account the administrator when nobody is yet: the first append wins. Asked at every sign-in too, so a
   * crash between creating the first account and this call leaves no installation without one.
   */
  claimAdministration(userId: string): Promise<void>;
  /** What others may see. */
  present(user: UserDoc): User;
}

const FIRST_ACCOUNT = "claims:first-account";

/** NFKC and without case: `Ａda`, `ADA` and `ada` are one name. Upper then lower case also folds ß and final sigma. */
export function usernameKey(username: string): string {
  return username.normalize("NFKC").trim().toUpperCase().toLowerCase().normalize("NFKC");
}

export async function createUsers(deps: {
  open: OpenCollection;
  streams: Streams;
  now: () => number;
}): Promise<Users> {
  const users: Collection<UserDoc> = deps.open({ name: "users", unique: [["usernameKey"]], indexes: [] });
  const readAdmin = async () => {
    const head = await deps.streams.head(FIRST_ACCOUNT);
    return head === undefined ? undefined : String(head.entry["userId"]);
  };
  let adminId = await readAdmin();
  /** Where nobody was administrator yet, another node may have made somebody since. */
  const learnAdmin = async (): Promise<void> => {
    if (adminId !== undefined) return;
    const found = await readAdmin();
    adminId ??= found;
  };

  return {
    create: async ({ username, passwordHash }) => {
      const user: UserDoc = {
        id: newId(deps.now()),
        username,
        usernameKey: usernameKey(username),
        displayName: username,
        passwordHash,
        createdAt: new Date(deps.now()).toISOString(),
      };
      if ((await users.insert(user)) === "taken") throw new Failure("username_taken");
      return user;
    },
    get: async (id) => {
      await learnAdmin();
      return users.get(id);
    },
    byName: async (username) => {
      await learnAdmin();
      const [user] = await users.find({ where: { usernameKey: usernameKey(username) }, limit: 1 });
      return user;
    },
    patch: async (id, fields) => {
      const key = fields.username === undefined ? {} : { usernameKey: usernameKey(fields.username) };
      const user = await users.patch(id, { ...fields, ...key });
      if (user === "taken") throw new Failure("username_taken");
      if (user === "missing") throw new Failure("not_found");
      return user;
    },
    claimAdministration: async (userId) => {
      if (adminId !== undefined) return;
      await deps.streams.append(FIRST_ACCOUNT, { at: 1, entry: { userId } });
      await learnAdmin();
    },
    present: ({ id, username, displayName, createdAt }) => ({
      id,
      username,
      displayName,
      color: colorOf(id),
      admin: id === adminId,
      createdAt,
    }),
  };
}
