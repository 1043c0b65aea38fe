import type { Piece } from "./piece.ts";
import { thingsIn } from "./piece.ts";
import { Refused } from "./refused.ts";

/** Passes pieces on, tells every now and then how far it is, and ends them when it is interrupted. */
export interface Watch {
  (pieces: AsyncIterable<Piece>, doing: string): AsyncGenerator<Piece>;
  interrupt(): void;
}

export interface WatchDeps {
  readonly tell: (line: string) => void;
  /** Milliseconds that never jump. */
  readonly steady: () => number;
}

const TELL_MS = 2_000;

export function createWatch({ tell, steady }: WatchDeps): Watch {
  let interrupted = false;
  async function* watch(pieces: AsyncIterable<Piece>, doing: string): AsyncGenerator<Piece> {
    let told = steady();
    let things = 0;
    for await (const piece of pieces) {
      if (interrupted) throw new Refused(`interrupted while ${doing}`);
      yield piece;
      things += piece.kind === "document" ? 1 : Array.from(thingsIn(piece)).length;
      if (steady() - told < TELL_MS) continue;
      told = steady();
      tell(`${doing}: ${things} so far`);
    }
  }
  return Object.assign(watch, {
    interrupt: () => {
      interrupted = true;
    },
  });
}
