import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { cleanUp, useParentDirectory } from "../collab/processes.ts";
import { table } from "../collab/report.ts";
import type { CellResult } from "../collab/report.ts";
import { measureCell, writeReport } from "../collab/rounds.ts";
import type { Pace } from "../collab/scenarios/scenario.ts";
import { createOurs } from "./peers/ours.ts";
import { CLUSTER_PEER_NAMES } from "./peers/peer.ts";
import type { ClusterPeer, ClusterPeerName } from "./peers/peer.ts";
import { createStock } from "./peers/stock.ts";
import { cost, growth } from "./scenarios/cost.ts";
import { crashes } from "./scenarios/crash.ts";
import { latency, publishes } from "./scenarios/keystrokes.ts";
import type { ClusterScenario } from "./scenarios/stage.ts";
import { startServices } from "./services.ts";
import type { Services } from "./services.ts";

const SCENARIOS: readonly ClusterScenario[] = [cost, publishes, latency, crashes, growth];
const CREATE: Readonly<Record<ClusterPeerName, (services: Services) => ClusterPeer>> = {
  ours: createOurs,
  stock: createStock,
};

const PACE: Pace = {
  warmMs: 2_000,
  windowMs: 6_000,
  stepMs: 0,
  settleMs: 30_000,
  stoppedBytes: 0,
  quick: false,
};
const QUICK: Pace = { ...PACE, warmMs: 700, windowMs: 2_000, quick: true };

const USAGE = `MONGO_SERVER=command node bench/cluster/run.ts [scenario ...] [--rounds n] [--quick] [--out file.json]
  [--peers ours,stock] [--cell text] [--dir where data directories go]
scenarios: ${SCENARIOS.map(({ name }) => name).join(" ")}`;

function fail(message: string): never {
  console.error(`${message}\n\n${USAGE}`);
  process.exit(2);
}

interface Options {
  readonly scenarios: readonly ClusterScenario[];
  readonly peers: readonly ClusterPeerName[];
  readonly rounds: number | undefined;
  readonly pace: Pace;
  readonly cell: string;
  readonly out: string | undefined;
}

function readOptions(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      out: { type: "string" },
      peers: { type: "string", default: CLUSTER_PEER_NAMES.join() },
      cell: { type: "string", default: "" },
      dir: { type: "string", default: tmpdir() },
    },
  });
  const unknown = positionals.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) fail(`there is no scenario ${unknown}`);
  const peers = values.peers.split(",").map((name) => {
    const known = CLUSTER_PEER_NAMES.find((peer) => peer === name);
    return known ?? fail(`there is no peer ${name}`);
  });
  const rounds = values.rounds === undefined ? (values.quick ? 1 : undefined) : Number(values.rounds);
  if (rounds !== undefined && (!Number.isInteger(rounds) || rounds < 1))
    fail("--rounds takes a whole number from 1");
  useParentDirectory(values.dir);
  return {
    scenarios: SCENARIOS.filter(({ name }) => positionals.length === 0 || positionals.includes(name)),
    peers,
    rounds,
    pace: values.quick ? QUICK : PACE,
    cell: values.cell,
    out: values.out,
  };
}

async function main(): Promise<void> {
  const options = readOptions();
  const { MONGODB_URL: mongoUrl, MONGO_SERVER: mongoServer } = process.env;
  if (mongoUrl === undefined && mongoServer === undefined)
    fail("neither MONGO_SERVER nor MONGODB_URL is set");
  const startedAt = new Date().toISOString();
  const results: CellResult[] = [];
  for (const scenario of options.scenarios) {
    const services = await startServices({ mongoUrl, mongoServer });
    const peers = options.peers.map((name) => CREATE[name](services));
    const rounds = options.rounds ?? scenario.rounds;
    for (const cell of scenario.cells(options.pace)) {
      if (!cell.name.includes(options.cell)) continue;
      const { pace, out } = options;
      results.push(await measureCell({ scenario: scenario.name, cell, peers, rounds, pace }));
      if (out !== undefined) writeReport(out, { results, startedAt, rounds, pace });
    }
    await services.stop();
  }
  for (const result of results) console.log(table(result, options.peers));
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    cleanUp();
    process.exit(130);
  });
}
try {
  await main();
} finally {
  cleanUp();
}
