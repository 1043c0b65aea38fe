import { digestOf, thingsIn, type Piece } from "./piece.ts";
import { Refused } from "./refused.ts";

/** How much there is of a kind, and a sum over it that does not depend on the order in which a store lists it. */
interface Total {
  readonly count: number;
  /** The SHA-256 of each thing, added up modulo 2^256, in hex. */
  readonly sum: string;
}

export type Totals = Readonly<Record<string, Total>>;

export interface Tally {
  add(piece: Piece): void;
  totals(): Totals;
}

const SUM_BITS = 256;
const SUM_DIGITS = SUM_BITS / 4;

export function createTally(): Tally {
  const kinds = new Map<string, { count: number; sum: bigint }>();
  return {
    add(piece) {
      for (const [kind, thing] of thingsIn(piece)) {
        const total = kinds.get(kind) ?? { count: 0, sum: 0n };
        kinds.set(kind, total);
        total.count += 1;
        total.sum = BigInt.asUintN(SUM_BITS, total.sum + BigInt(`0x${digestOf(thing)}`));
      }
    },
    totals: () =>
      Object.fromEntries(
        [...kinds]
          .toSorted(([a], [b]) => (a < b ? -1 : 1))
          .map(([kind, { count, sum }]) => [
            kind,
            { count, sum: sum.toString(16).padStart(SUM_DIGITS, "0") },
          ]),
      ),
  };
}

/** What is not equal, in words; empty where everything is. */
export function differences(expected: Totals, found: Totals): string[] {
  const kinds = [...new Set([...Object.keys(expected), ...Object.keys(found)])].toSorted();
  return kinds.flatMap((kind) => {
    const [a, b] = [expected[kind], found[kind]];
    if (a?.count !== b?.count) return [`${kind}: ${b?.count ?? 0} instead of ${a?.count ?? 0}`];
    return a?.sum === b?.sum ? [] : [`${kind}: as many, but not the same`];
  });
}

/** Throws unless the pieces are, thing by thing, what they should be. */
export async function demandEqual(expected: Totals, pieces: AsyncIterable<Piece>): Promise<void> {
  const tally = createTally();
  for await (const piece of pieces) tally.add(piece);
  const wrong = differences(expected, tally.totals());
  if (wrong.length > 0) throw new Refused(`what was written is not what was read: ${wrong.join("; ")}`);
}

/** `documents 2, streams 17, users 5`. */
export function describeTotals(totals: Totals): string {
  const counts = Object.entries(totals).map(([kind, { count }]) => `${kind} ${count}`);
  return counts.length === 0 ? "nothing" : counts.join(", ");
}
