import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ours, oursIsHere, oursYjs } from "./peers/ours.ts";
import { PEER_NAMES } from "./peers/peer.ts";
import type { Peer, PeerName } from "./peers/peer.ts";
import { stock, yWebsocket } from "./peers/stock.ts";
import { cleanUp, useParentDirectory } from "./processes.ts";
import { table } from "./report.ts";
import type { CellResult } from "./report.ts";
import { measureCell, writeReport } from "./rounds.ts";
import { coldOpen, crashes, storage } from "./scenarios/durability.ts";
import { moderate, pairs, saturation } from "./scenarios/fan-out.ts";
import { idleConnections, stoppedReader } from "./scenarios/memory.ts";
import type { Pace, Scenario } from "./scenarios/scenario.ts";

const SCENARIOS: readonly Scenario[] = [
  moderate,
  saturation,
  pairs,
  coldOpen,
  storage,
  crashes,
  stoppedReader,
  idleConnections,
];
const PEERS: Readonly<Record<PeerName, Peer>> = {
  ours,
  stock,
  "y-websocket": yWebsocket,
  "ours-yjs": oursYjs,
};
const DEFAULT_PEERS = "ours,stock,y-websocket";
const PACE: Pace = {
  warmMs: 3_000,
  windowMs: 6_000,
  stepMs: 1_500,
  settleMs: 30_000,
  stoppedBytes: 150 * 2 ** 20,
  quick: false,
};
const QUICK: Pace = {
  warmMs: 1_000,
  windowMs: 2_000,
  stepMs: 600,
  settleMs: 30_000,
  stoppedBytes: 20 * 2 ** 20,
  quick: true,
};

const USAGE = `node bench/collab/run.ts [scenario ...] [--rounds 5] [--quick] [--out file.json]
  [--peers ${DEFAULT_PEERS}] [--cell text] [--stopped-mb 150] [--dir where data directories go]
scenarios: ${SCENARIOS.map(({ name }) => name).join(" ")}`;

interface Options {
  readonly scenarios: readonly Scenario[];
  readonly peers: readonly Peer[];
  readonly rounds: number;
  readonly pace: Pace;
  /** Only cells whose name contains this. */
  readonly cell: string;
  readonly out: string | undefined;
}

function fail(message: string): never {
  console.error(`${message}\n\n${USAGE}`);
  process.exit(2);
}

function readOptions(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      out: { type: "string" },
      peers: { type: "string", default: DEFAULT_PEERS },
      cell: { type: "string", default: "" },
      "stopped-mb": { type: "string" },
      dir: { type: "string", default: tmpdir() },
    },
  });
  const unknown = positionals.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) fail(`there is no scenario ${unknown}`);
  const peers = values.peers.split(",").map((name) => {
    const known = PEER_NAMES.find((peer) => peer === name);
    return known === undefined ? fail(`there is no peer ${name}`) : PEERS[known];
  });
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) fail("--rounds takes a whole number from 1");
  useParentDirectory(values.dir);
  const pace = values.quick ? QUICK : PACE;
  const stopped = values["stopped-mb"];
  return {
    scenarios: SCENARIOS.filter(({ name }) => positionals.length === 0 || positionals.includes(name)),
    peers,
    rounds,
    pace: stopped === undefined ? pace : { ...pace, stoppedBytes: Number(stopped) * 2 ** 20 },
    cell: values.cell,
    out: values.out,
  };
}

/** y-websocket's server has its dependencies apart from ours; fetched when they are missing. */
function provideYWebsocket(): void {
  const place = fileURLToPath(new URL("../peers/y-websocket/", import.meta.url));
  if (existsSync(`${place}node_modules/y-websocket`)) return;
  console.error("installing y-websocket's server …");
  execFileSync("npm", ["ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: place,
    stdio: "inherit",
  });
}

async function main(): Promise<void> {
  const options = readOptions();
  const names = options.peers.map(({ name }) => name);
  if (names.includes("y-websocket")) provideYWebsocket();
  if (names.some((name) => name.startsWith("ours")) && !oursIsHere()) fail("server/src/main.ts is not here");
  const startedAt = new Date().toISOString();
  const results: CellResult[] = [];
  for (const scenario of options.scenarios) {
    for (const cell of scenario.cells(options.pace)) {
      if (!cell.name.includes(options.cell)) continue;
      results.push(await measureCell({ ...options, scenario: scenario.name, cell }));
      if (options.out !== undefined) writeReport(options.out, { ...options, results, startedAt });
    }
  }
  for (const result of results) console.log(table(result, names));
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
