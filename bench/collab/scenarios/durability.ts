import { sleep } from "../generator/fleet.ts";
import type { Generator } from "../generator/call.ts";
import type { Door } from "../generator/member.ts";
import type { Material } from "../generator/material.ts";
import { diskBytesWritten } from "../measure/proc.ts";
import { createRandom } from "../measure/stats.ts";
import type { RunningPeer } from "../peers/peer.ts";
import { onStage } from "./scenario.ts";
import type { Cell, Round, Scenario, Values } from "./scenario.ts";

/** Scenarios 4 to 6: opening a long-lived document, what is written for what is typed, and what a crash takes. */

const STORE_POLL_MS = 250;
/** Longer than stock's debounce of 2 s. */
const STORE_QUIET_MS = 3_500;
const STORE_SETTLE_MS = 40_000;

interface Written {
  readonly logical: number;
  readonly disk: number;
}

async function written(server: RunningPeer): Promise<Written> {
  return { logical: (await server.storedBytes()) ?? Number.NaN, disk: diskBytesWritten(server.pid) };
}

/** Waits until the server has written nothing for a while, and says what it had written by then. */
async function quietStore(server: RunningPeer): Promise<Written> {
  const deadline = performance.now() + STORE_SETTLE_MS;
  let last = await written(server);
  let since = performance.now();
  while (performance.now() - since < STORE_QUIET_MS && performance.now() < deadline) {
    await sleep(STORE_POLL_MS);
    const now = await written(server);
    if (now.disk !== last.disk || (now.logical !== last.logical && !Number.isNaN(now.logical))) {
      since = performance.now();
    }
    last = now;
  }
  return last;
}

const EDITED: Material = { kind: "edited", edits: 100_000, lettersLeft: 38_500 };
const EDITED_QUICK: Material = { kind: "edited", edits: 10_000, lettersLeft: 3_850 };

/** Two clients one after the other: the first finds the document on disk, the second in memory. */
async function openTwice(generator: Generator, door: Door, letters: number): Promise<Values> {
  const [cold, warm] = await generator.call("open", { door, letters, times: 2 });
  return {
    bytesIn: cold?.bytesIn ?? Number.NaN,
    ms: cold?.ms ?? Number.NaN,
    warmBytesIn: warm?.bytesIn ?? Number.NaN,
    warmMs: warm?.ms ?? Number.NaN,
  };
}

async function openCold({ peer, pace }: Round): Promise<Values> {
  return await onStage(peer, true, async ({ server, generator, directory }) => {
    const [door] = await server.createDoors(1);
    if (door === undefined) throw new Error("no document");
    const material = pace.quick ? EDITED_QUICK : EDITED;
    const { letters, stateBytes } = await generator.call("seed", { door, material });
    if (!peer.stores) return { ...(await openTwice(generator, door, letters)), stateBytes };
    await quietStore(server);
    await server.stop();
    const again = await peer.start({ directory, store: true });
    try {
      return { ...(await openTwice(generator, await again.reopen(door), letters)), stateBytes };
    } finally {
      await again.stop();
    }
  });
}

export const coldOpen: Scenario = {
  name: "cold-open",
  title:
    "First opening of a long-lived document after a restart (y-websocket, which has no store here: from memory)",
  cells: ({ quick }) => [
    {
      name: quick ? "10k edits" : "100k edits, 38.5k letters left",
      metrics: [
        { key: "bytesIn", label: "bytes on the wire", better: "lower", goal: 0.5 },
        { key: "ms", label: "ms until complete", better: "lower" },
        { key: "warmBytesIn", label: "bytes, second opening", better: "lower" },
        { key: "warmMs", label: "ms, second opening", better: "lower" },
        { key: "stateBytes", label: "bytes of the encoded document", better: "info" },
      ],
      measure: openCold,
    },
  ],
};

/** Five people, together 100 letters per second. */
const WRITERS = 5;
const LETTERS_PER_SECOND = 20;
const KB = 1024;

async function typeIntoLarge(round: Round, bytes: number): Promise<Values> {
  return await onStage(round.peer, true, async ({ server, generator }) => {
    const [door] = await server.createDoors(1);
    if (door === undefined) throw new Error("no document");
    const seeded = await generator.call("seed", { door, material: { kind: "text", bytes } });
    await generator.call("openFleet", {
      doors: [door],
      clientsPerDocument: WRITERS,
      writersPerDocument: WRITERS,
      seed: round.seed,
    });
    const before = await quietStore(server);
    const seconds = (round.pace.quick ? 0.5 : 2) * (KB / (WRITERS * LETTERS_PER_SECOND));
    await generator.call("type", { updatesPerSecond: LETTERS_PER_SECOND, cursorsPerSecond: 0 });
    await sleep(seconds * 1000);
    const { sent, missing } = await generator.call("settle", round.pace.settleMs);
    if (missing > 0) throw new Error(`${missing} letters missing`);
    const after = await quietStore(server);
    const typedKb = sent / KB;
    return {
      logicalPerKb: (after.logical - before.logical) / KB / typedKb,
      diskPerKb: (after.disk - before.disk) / KB / typedKb,
      typedKb,
      stateBytes: seeded.stateBytes,
    };
  });
}

function storageCell(megabytes: number, goal: number): Cell {
  return {
    name: `typing into ${megabytes} MB`,
    metrics: [
      { key: "logicalPerKb", label: "KB handed to the store per KB typed", better: "lower", goal },
      { key: "diskPerKb", label: "KB written to disk per KB typed", better: "lower" },
      { key: "typedKb", label: "KB typed", better: "info" },
      { key: "stateBytes", label: "bytes of the encoded document", better: "info" },
    ],
    skips: (peer) => (peer.stores ? undefined : "has no store here"),
    measure: (round) => typeIntoLarge(round, megabytes * KB * KB),
  };
}

export const storage: Scenario = {
  name: "storage",
  title: "Bytes stored for what is typed, letter by letter",
  cells: ({ quick }) => (quick ? [storageCell(1, 0.1)] : [storageCell(1, 0.1), storageCell(10, 0.01)]),
};

const CRASH_UPDATES_PER_SECOND = 20;
/** Typing before the crash, at random in this range; stock's longest debounce is 10 s. */
const CRASH_AFTER_MS = { least: 4_000, most: 14_000 };
const LAST_ACKS_MS = 300;

async function crash(round: Round): Promise<Values> {
  return await onStage(round.peer, true, async ({ server, generator, directory }) => {
    const [door] = await server.createDoors(1);
    if (door === undefined) throw new Error("no document");
    const plan = { doors: [door], clientsPerDocument: 2, writersPerDocument: 1, seed: round.seed };
    await generator.call("openFleet", plan);
    await generator.call("type", { updatesPerSecond: CRASH_UPDATES_PER_SECOND, cursorsPerSecond: 0 });
    const { least, most } = CRASH_AFTER_MS;
    const scale = round.pace.quick ? 0.3 : 1;
    await sleep((least + createRandom(round.seed)() * (most - least)) * scale);
    await server.kill();
    await sleep(LAST_ACKS_MS);
    const { acks, sent } = await generator.call("settle", 0);
    const again = await round.peer.start({ directory, store: true });
    try {
      const input = { door: await again.reopen(door), letters: undefined, times: 1 };
      const restored = (await generator.call("open", input))[0]?.clocks ?? Number.NaN;
      const lost = Math.max(0, acks - restored);
      return { lost, lostSeconds: lost / CRASH_UPDATES_PER_SECOND, acks, sent, restored };
    } finally {
      await again.stop();
    }
  });
}

export const crashes: Scenario = {
  name: "crash",
  title: "kill -9 while one person types 20 letters per second",
  cells: () => [
    {
      name: "one trial per round",
      metrics: [
        { key: "lost", label: "acknowledged edits lost (goal: 0)", better: "lower" },
        { key: "lostSeconds", label: "the same in seconds of typing", better: "lower" },
        { key: "acks", label: "acknowledged before the crash", better: "info" },
        { key: "restored", label: "there after the restart", better: "info" },
      ],
      skips: (peer) => (peer.stores && peer.acks ? undefined : "has no acks or no store here"),
      measure: crash,
    },
  ],
};
