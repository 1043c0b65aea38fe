import type { Held } from "./rows.ts";
import type { DocumentModel, SeatModel } from "./seat.ts";

export interface Converged {
  /** Documents that lacked something somewhere when the fault ended. */
  readonly documents: number;
  /** Milliseconds until half of them, nearly all, and all had everything that was committed by then. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly allMs: number;
  /** Those that have not got it yet. */
  readonly open: number;
}

/** Follows the documents that lack something from a moment on. */
export class Convergence {
  readonly #targets = new Map<SeatModel, Map<number, number>>();
  readonly #took: number[] = [];
  readonly #startedAt: number;
  readonly #now: () => number;
  #documents = 0;

  constructor(documents: readonly DocumentModel[], now: () => number) {
    this.#now = now;
    this.#startedAt = now();
    for (const document of documents) {
      document.lacking = 0;
      if (document.logs === undefined) continue;
      for (const seat of document.seats) this.#follow(seat);
      if (document.lacking > 0) this.#documents += 1;
    }
  }

  get open(): number {
    return this.#documents - this.#took.length;
  }

  advanced(seat: SeatModel, place: number, held: Held): void {
    const targets = this.#targets.get(seat);
    const target = targets?.get(place);
    if (targets === undefined || target === undefined || held.upTo < target) return;
    targets.delete(place);
    if (targets.size === 0) this.#targets.delete(seat);
    this.#less(seat.document, 1);
  }

  /** Whom nobody looks at need not converge. */
  closed(seat: SeatModel): void {
    const targets = this.#targets.get(seat);
    if (targets === undefined) return;
    this.#targets.delete(seat);
    this.#less(seat.document, targets.size);
  }

  result(): Converged {
    const took = this.#took.toSorted((a, b) => a - b);
    const at = (share: number): number =>
      took[Math.max(0, Math.ceil(share * this.#documents) - 1)] ?? Number.NaN;
    return {
      documents: this.#documents,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      allMs: this.open === 0 ? at(1) : Number.POSITIVE_INFINITY,
      open: this.open,
    };
  }

  #follow(seat: SeatModel): void {
    const { document, host } = seat;
    for (const [place, rows] of document.logs ?? []) {
      if (place === host.place || seat.missing(place) === Number.POSITIVE_INFINITY) continue;
      const targets = this.#targets.get(seat) ?? new Map<number, number>();
      this.#targets.set(seat, targets.set(place, rows.committed));
      document.lacking += 1;
    }
  }

  #less(document: DocumentModel, by: number): void {
    document.lacking -= by;
    if (document.lacking === 0) this.#took.push(this.#now() - this.#startedAt);
  }
}
