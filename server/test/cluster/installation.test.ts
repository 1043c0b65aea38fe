import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import type { Streams } from "@scriptorium/shared";
import { openInstallation } from "../../src/cluster/installation.ts";
import { openMemory } from "../../src/storage/adapters/memory/open.ts";
import { openMongo } from "../../src/storage/adapters/mongo/open.ts";
import type { Store } from "../../src/storage/store.ts";
import { openTemporary, SILENT } from "../storage/temporary-store.ts";
import { freshDatabase, NO_MONGO, stopSharedMongo } from "../support/mongo.ts";

interface Opened {
  /** The same data, as two nodes open it. */
  readonly nodes: readonly Store[];
  readonly close: () => Promise<void>;
}

const STORES: Readonly<Record<string, { skip: string | false; open: () => Promise<Opened> }>> = {
  memory: {
    skip: false,
    open: async () => {
      const store = await openMemory();
      return { nodes: [store, store], close: () => store.close() };
    },
  },
  SQLite: {
    skip: false,
    open: async () => {
      const { store, close } = await openTemporary();
      return { nodes: [store, store], close };
    },
  },
  MongoDB: {
    skip: NO_MONGO,
    open: async () => {
      const { url, drop } = await freshDatabase();
      const nodes = await Promise.all([1, 2].map(() => openMongo({ url, log: SILENT })));
      return {
        nodes,
        close: async () => {
          await Promise.all(nodes.map((node) => node.close()));
          await drop();
        },
      };
    },
  },
};

/** Lets go of every first reading at once, so that all see an empty store before any has written. */
function readingTogether(streams: Streams, together: () => Promise<void>): Streams {
  return {
    ...streams,
    head: async (stream) => {
      const found = await streams.head(stream);
      await together();
      return found;
    },
  };
}

function barrier(size: number): () => Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  let waiting = 0;
  return async () => {
    waiting += 1;
    if (waiting === size) resolve(undefined);
    await promise;
  };
}

describe("the installation", () => {
  after(() => stopSharedMongo());

  for (const [name, { skip, open }] of Object.entries(STORES)) {
    it(`is one for nodes that open it at once, and stays, on ${name}`, { skip }, async (t) => {
      const { nodes, close } = await open();
      t.after(close);
      const together = barrier(6);
      const opened = await Promise.all(
        [...nodes, ...nodes, ...nodes].map(({ streams }) =>
          openInstallation(readingTogether(streams, together), Date.now),
        ),
      );
      const [first] = opened;
      assert.ok(first !== undefined);
      for (const other of opened) assert.deepEqual(other, first);
      assert.equal(first.busSecret.length, 32);
      for (const { streams } of nodes) {
        assert.deepEqual(await openInstallation(streams, Date.now), first);
        assert.equal((await streams.read("installation", 1, 10)).length, 1);
      }
    });
  }

  it("is another one on another store", async () => {
    const [one, other] = await Promise.all(
      [1, 2].map(async () => openInstallation((await openMemory()).streams, Date.now)),
    );
    assert.notEqual(one?.id, other?.id);
    assert.notDeepEqual(one?.busSecret, other?.busSecret);
  });
});
