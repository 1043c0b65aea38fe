import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { NO_MONGO_COMMAND } from "./support/mongo.ts";
import { NO_REDIS } from "../src/testing/redis.ts";
import { assertKept, sameContent } from "./support/audit.ts";
import { seeded } from "./support/random.ts";
import { openSeveral, type Several } from "./support/several.ts";
import { until } from "./support/site.ts";
import { openHocuspocus, openYWebsocket, type Typist } from "./support/typists.ts";

/** One client of each dialect at each door. */
function openTypists(several: Several, document: string): Typist[] {
  const random = seeded(7);
  const typists = several.doors.flatMap(({ wsUrl }, i) => {
    const as = (name: string) => ({
      name: `${name}${i}`,
      wsUrl,
      document,
      token: several.owner.accessToken,
      random: random.fork(),
    });
    return [openHocuspocus(as("h")), openYWebsocket(as("y"))];
  });
  several.after(() => typists.forEach((typist) => typist.destroy()));
  return typists;
}

const settled = (typists: readonly Typist[]): Promise<void> =>
  until(() => typists.every((typist) => typist.settled), "everybody is settled");

const equal = (typists: readonly Typist[], what: string): Promise<void> =>
  until(() => typists.every(({ doc }) => sameContent(doc, typists[0]?.doc ?? doc)), what, 30_000);

describe("three server processes on MongoDB and Redis", { skip: NO_MONGO_COMMAND || NO_REDIS }, () => {
  it("[CL2] have one document in common, over both protocols, on every node's REST and in the store", async (t) => {
    const several = await openSeveral(t);
    const document = await several.notes();
    const typists = openTypists(several, document);
    await settled(typists);
    for (let round = 0; round < 20; round += 1) for (const typist of typists) typist.type();
    await settled(typists);
    await equal(typists, "all replicas are equal");
    for (const node of several.nodes)
      assert.ok(sameContent(await several.read(node, document), typists[0]?.doc ?? assert.fail()));
    const stored = await several.readFresh([document]);
    assertKept(stored.get(document) ?? assert.fail(), typists);
  });

  it("[FX4] [CL3] go on without Redis, say so, and converge; and again when it is back", async (t) => {
    const several = await openSeveral(t);
    const document = await several.notes();
    const typists = openTypists(several, document);
    await settled(typists);
    await several.redis.kill();
    const readiness = async (): Promise<string> =>
      JSON.stringify(await (await fetch(`${several.node(1).process.url}/readyz`)).json());
    await until(async () => (await readiness()).includes("degraded"), "readiness says degraded");
    for (const typist of typists) typist.type();
    await settled(typists);
    await equal(typists, "all replicas are equal without Redis");
    await several.redis.restart();
    await until(async () => !(await readiness()).includes("degraded"), "readiness says nothing any more");
    for (const typist of typists) typist.type();
    await equal(typists, "all replicas are equal with Redis again");
    for (const node of several.nodes) assert.equal(node.process.logs().includes("unhandled"), false);
  });
});
