import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { CollabLimits } from "@scriptorium/collab";
import { saved, until } from "./harness.ts";
import type { RawClient } from "./raw-client.ts";
import { openStage, type Stage } from "./stage.ts";

export interface Crowd extends Stage {
  /** Edits by both bystanders reach each other and the store; their sockets have not been touched. */
  undisturbed(): Promise<void>;
}

/** A document with two people on it who must not notice what happens to the client under test. */
export async function crowd(t: TestContext, limits: Partial<CollabLimits>): Promise<Crowd> {
  const stage = await openStage(t, { limits });
  const ada = stage.provider("ada");
  const bo = stage.yjs("bo");
  const equal = (): boolean => ada.text.toJSON() === bo.text.toJSON();
  await saved(ada);
  await until(() => bo.provider.synced, "bo is synced");
  return {
    ...stage,
    async undisturbed() {
      const before = ada.text.length;
      ada.text.insert(0, "a");
      bo.text.insert(bo.text.length, "b");
      await saved(ada);
      await until(() => ada.text.length === before + 2 && equal(), "the bystanders see each other's edits");
      assert.deepEqual([...ada.closes, ...bo.closes], []);
      assert.equal(await stage.freshText(), ada.text.toJSON());
    },
  };
}

export async function closedWith(client: RawClient, code: number): Promise<void> {
  await until(() => client.closed !== undefined, `closed with ${code}`);
  assert.equal(client.closed?.code, code);
}
