import { newId, type Streams } from "@scriptorium/shared";
import { z } from "zod";
import type { UserDoc } from "./users.ts";

export interface StoredPassword {
  readonly hash: string;
  /** How many there were before; 0 is that of the account's creation. */
  readonly version: number;
}

/**
 * What is stored of a user's password: the hash in the account, and those that took its place, in a stream. Who replaces
 * one names the one that was read, so that a hash that is renewed at sign-in never takes the place of a password that was
 * changed meanwhile, on whichever node.
 */
export interface StoredPasswords {
  of(user: Pick<UserDoc, "id" | "passwordHash">): Promise<StoredPassword>;
  /** `taken`: somebody else was faster. */
  replace(userId: string, next: { hash: string; after: StoredPassword }): Promise<"ok" | "taken">;
}

const Entry = z.object({ hash: z.string() });

export function createStoredPasswords({
  streams,
  now,
}: {
  streams: Streams;
  now: () => number;
}): StoredPasswords {
  const streamOf = (userId: string) => `password:${userId}`;
  return {
    async of({ id, passwordHash }) {
      const head = await streams.head(streamOf(id));
      if (head === undefined) return { hash: passwordHash, version: 0 };
      return { hash: Entry.parse(head.entry).hash, version: head.at };
    },
    async replace(userId, { hash, after }) {
      const at = after.version + 1;
      const outcome = await streams.append(streamOf(userId), { at, entry: { hash }, op: newId(now()) });
      if (outcome === "taken") return "taken";
      await streams.trim(streamOf(userId), at);
      return "ok";
    },
  };
}
