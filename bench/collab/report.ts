import { median } from "./measure/stats.ts";
import type { PeerName } from "./peers/peer.ts";
import type { Metric, Values } from "./scenarios/scenario.ts";

export interface CellResult {
  readonly scenario: string;
  readonly cell: string;
  readonly metrics: readonly Metric[];
  /** One entry per round; null where the peer was skipped or failed. */
  readonly rounds: Partial<Record<PeerName, (Values | null)[]>>;
  readonly notes: string[];
}

/** Ours against whom: the same wire protocol on both sides. */
const PAIRS: readonly (readonly [PeerName, PeerName])[] = [
  ["ours", "stock"],
  ["ours-yjs", "y-websocket"],
];

function series(result: CellResult, peer: PeerName, key: string): number[] {
  return (result.rounds[peer] ?? []).map((values) => values?.[key] ?? Number.NaN);
}

export interface Ratio {
  readonly of: PeerName;
  readonly to: PeerName;
  readonly perRound: number[];
  readonly median: number;
}

/** Round by round, because a noisy minute hits neighbours in the same round alike. */
export function ratios(result: CellResult, key: string): Ratio[] {
  return PAIRS.flatMap(([of, to]) => {
    const ours = series(result, of, key);
    const theirs = series(result, to, key);
    const perRound = ours.map((value, round) => value / (theirs[round] ?? Number.NaN));
    const middle = median(perRound);
    return Number.isNaN(middle) ? [] : [{ of, to, perRound, median: middle }];
  });
}

function figure(value: number): string {
  if (Number.isNaN(value)) return "-";
  if (!Number.isFinite(value)) return "inf";
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(size >= 1 ? 2 : 3);
}

function ratioColumn(result: CellResult, metric: Metric): string {
  if (metric.better === "info") return "";
  return ratios(result, metric.key)
    .map((ratio) => {
      const goal = metric.goal !== undefined && ratio.to === "stock" ? `, goal ${metric.goal}` : "";
      const rounds = ratio.perRound.map(figure).join(" ");
      return `${ratio.of}/${ratio.to} ${figure(ratio.median)} [${rounds}]${goal}`;
    })
    .join("; ");
}

/** A Markdown table per cell: medians over the rounds, and the ratios of every round. */
export function table(result: CellResult, peers: readonly PeerName[]): string {
  const line = (columns: readonly string[]): string => `| ${columns.join(" | ")} |`;
  const rows = result.metrics.map((metric) =>
    line([
      metric.label,
      ...peers.map((peer) => figure(median(series(result, peer, metric.key)))),
      ratioColumn(result, metric),
    ]),
  );
  return [
    `### ${result.scenario}: ${result.cell}`,
    "",
    line(["", ...peers, "ratio, median [rounds]"]),
    line(["---", ...peers.map(() => "---:"), "---"]),
    ...rows,
    ...(result.notes.length === 0 ? [] : ["", ...new Set(result.notes)]),
    "",
  ].join("\n");
}
