import assert from "node:assert/strict";
import { after, describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Failure, newId, type AppendOutcome } from "@scriptorium/shared";
import { startMongoProxy, type Decide, type Fault, type MongoProxy } from "../support/mongo-proxy.ts";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "../support/mongo.ts";
import { seeded, type Random } from "../support/random.ts";
import { until } from "../support/site.ts";
import { openMongo } from "../../src/storage/adapters/mongo/open.ts";
import type { Store } from "../../src/storage/store.ts";
import { assertBooks, countOf, insist, openItems, startWriting } from "./store-crowd.ts";
import { SILENT } from "./temporary-store.ts";

/** The replica set of this drill is a proxy's word (support/mongo-proxy.ts); what is written is on a real server. */

const WRITES = new Set(["insert", "update", "delete", "findAndModify"]);
const NOT_PRIMARY = [10_107, 189, 11_602, 91, 13_435];
const WRITE_CONCERN_FAILED = 64;
/** A machine that is busy is not a server that is away. */
const PATIENT = { connectMs: 20_000 };

interface Nodes {
  readonly proxy: MongoProxy;
  readonly stores: readonly Store[];
}

/** Several nodes on one database of a server that appears as so many members. */
async function withNodes(
  shape: { members: number; nodes: number },
  work: (nodes: Nodes) => Promise<void>,
): Promise<void> {
  const { url, drop } = await freshDatabase();
  const { port, pathname } = new URL(url);
  const proxy = await startMongoProxy({ port: Number(port), members: shape.members });
  const open = () => openMongo({ url: proxy.url(pathname.slice(1)), log: SILENT, limits: PATIENT });
  const stores: Store[] = [];
  try {
    for (let node = 0; node < shape.nodes; node += 1) stores.push(await open());
    await work({ proxy, stores });
  } finally {
    await Promise.all(stores.map((store) => store.close()));
    await proxy.stop();
    await drop();
  }
}

/** The fault for the first command that fits, and none for the others. */
function once(fault: Fault, fits: (name: string, table: unknown) => boolean): Decide {
  let met = false;
  return ({ name, body }) => {
    if (met || !fits(name, body[name])) return undefined;
    met = true;
    return fault;
  };
}

/** What a caller is told: the outcome, or that it is to try later. */
async function told(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return (await work()) ?? "done";
  } catch (error) {
    assert.ok(error instanceof Failure, String(error));
    return error.code;
  }
}

after(stopSharedMongo);

const showing = ({ kind, ...rest }: Fault) => [kind, ...Object.values(rest)].join(" ");

describe("a write that meets trouble", { skip: NO_MONGO }, () => {
  /** What the caller hears first, and when it tries again. A row's second attempt is always fine. */
  const expectations: { members: number; faults: Fault[]; first: string[]; second: string[] }[] = [
    {
      members: 2,
      faults: [
        ...NOT_PRIMARY.map((code) => ({ kind: "refuse", code }) as const),
        { kind: "interrupt", code: 11_602 },
        { kind: "interrupt", code: 91 },
        { kind: "not-replicated", code: 189 },
        { kind: "lose-command" },
        { kind: "lose-answer" },
        { kind: "tear-answer" },
      ],
      // The driver sends it again by itself, under the number by which a member knows what it has done.
      first: ["done", "ok", "ok", "patched"],
      second: ["done", "seen", "taken", "patched"],
    },
    {
      members: 2,
      faults: [{ kind: "not-replicated", code: WRITE_CONCERN_FAILED }],
      first: ["try_later", "try_later", "try_later", "try_later"],
      second: ["done", "seen", "taken", "patched"],
    },
    {
      members: 0,
      faults: [{ kind: "lose-answer" }, { kind: "tear-answer" }, { kind: "interrupt", code: 11_602 }],
      first: ["try_later", "try_later", "try_later", "try_later"],
      second: ["done", "seen", "taken", "patched"],
    },
    {
      members: 0,
      faults: [{ kind: "lose-command" }, { kind: "refuse", code: 91 }],
      first: ["try_later", "try_later", "try_later", "try_later"],
      second: ["done", "ok", "ok", "patched"],
    },
  ];
  for (const { members, faults, first, second } of expectations) {
    const where = members === 0 ? "a standalone server" : "a replica set";
    it(`is done once on ${where}: ${faults.map(showing).join(", ")}`, async () => {
      await withNodes({ members, nodes: 1 }, async ({ proxy, stores }) => {
        const [store] = stores;
        assert.ok(store !== undefined);
        const items = openItems(store);
        for (const fault of faults) {
          const id = newId();
          const row = {
            document: id,
            epoch: 1,
            node: "n",
            seq: 1,
            at: 1,
            by: "ada",
            update: new Uint8Array(9),
          };
          const item = newId();
          const patched = newId();
          await items.insert({ id: patched, n: 0 });
          const operations: [table: string, () => Promise<unknown>][] = [
            ["rows", () => store.documents.appendRows([row])],
            ["entries", () => store.streams.append(id, { at: 1, entry: {}, op: "op" })],
            ["doc_items", () => items.insert({ id: item, n: 1 })],
            [
              "doc_items",
              async () => ((await items.patch(patched, { n: 1 })) === "missing" ? "missing" : "patched"),
            ],
          ];
          const heard: unknown[][] = [];
          for (const [table, operation] of operations) {
            proxy.decide = once(fault, (name, of) => WRITES.has(name) && of === table);
            heard.push([await told(operation), await told(operation)]);
          }
          proxy.decide = undefined;
          assert.deepEqual(
            heard,
            first.map((outcome, i) => [outcome, second[i]]),
            showing(fault),
          );
          assert.deepEqual(await store.documents.readRows(id, 1), [row]);
          assert.equal((await store.streams.read(id, 1, 9)).length, 1);
          assert.equal((await items.get(item))?.n, 1);
        }
      });
    });
  }

  it("waits for an election that is soon over", async () => {
    await withNodes({ members: 2, nodes: 1 }, async ({ proxy, stores }) => {
      const [store] = stores;
      assert.ok(store !== undefined);
      for (const then of ["stays", "gone"] as const) {
        const stream = newId();
        proxy.stepDown(then);
        const writing: Promise<AppendOutcome> = insist(() =>
          store.streams.append(stream, { at: 1, entry: {}, op: "op" }),
        );
        await delay(200);
        proxy.elect();
        assert.equal(await writing, "ok");
      }
    });
  });
});

/** Every kind of fault, for every kind of command, more often than anybody will meet them. */
function troubles(random: Random, replicated: boolean): Decide {
  const kinds: ((isWrite: boolean) => Fault)[] = [
    () => ({ kind: "refuse", code: NOT_PRIMARY[random.below(NOT_PRIMARY.length)] ?? 189 }),
    () => ({ kind: "lose-command" }),
    () => ({ kind: "lose-answer" }),
    () => ({ kind: "tear-answer" }),
    () => ({ kind: "delay", ms: random.below(200) }),
    (isWrite) => (isWrite ? { kind: "interrupt", code: 11_602 } : { kind: "refuse", code: 11_602 }),
    (isWrite) =>
      isWrite && replicated
        ? { kind: "not-replicated", code: random.chance(0.5) ? WRITE_CONCERN_FAILED : 189 }
        : { kind: "lose-answer" },
  ];
  return ({ name }) => {
    if (!WRITES.has(name) && name !== "find") return undefined;
    return random.chance(0.06) ? kinds[random.below(kinds.length)]?.(WRITES.has(name)) : undefined;
  };
}

describe("writers on two nodes", { skip: NO_MONGO }, () => {
  const drill = async (t: TestContext, { seed, members }: { seed: number; members: number }) => {
    await withNodes({ members, nodes: 2 }, async ({ proxy, stores }) => {
      const [store] = stores;
      assert.ok(store !== undefined);
      const random = seeded(seed);
      const crowd = startWriting(stores);
      await until(() => crowd.books.rows.length > 0, "they write");
      proxy.decide = troubles(random.fork(), members > 0);
      for (let election = 0; election < 4; election += 1) {
        await delay(600);
        if (members > 0) {
          proxy.stepDown(random.chance(0.5) ? "stays" : "gone");
          await delay(random.below(600));
          proxy.elect();
        }
      }
      const { length } = crowd.books.rows;
      await until(() => crowd.books.rows.length > length, "they go on");
      proxy.decide = undefined;
      await crowd.stop();
      await assertBooks(store, crowd.books);
      const met = [...proxy.faults].map(([fault, times]) => `${times} ${fault}`).join(", ");
      t.diagnostic(
        `seed ${seed}: ${countOf(crowd.books)}; ${crowd.failures} times told to try later; ${met}`,
      );
    });
  };
  for (const seed of [1, 2, 3]) {
    it(`lose and double nothing through faults and elections (seed ${seed})`, (t) =>
      drill(t, { seed, members: 3 }));
  }
  it("lose and double nothing through faults of a standalone server", (t) =>
    drill(t, { seed: 4, members: 0 }));
});
