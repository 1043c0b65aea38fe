interface Run {
  readonly first: number;
  last: number;
}

/**
 * The rows that one node has written of one document, as they are: what marks claim is checked against it. A node that
 * loads a document again numbers on from its highest number of all, so there are gaps where no row is.
 */
export class Rows {
  /** The last that is committed; those beyond it are on their way into the store. */
  committed = 0;
  #runs: Run[] = [];

  /** Rows begin to be inserted. */
  begin(first: number, last: number): void {
    const run = this.#runs.at(-1);
    if (run !== undefined && first === run.last + 1) run.last = last;
    else this.#runs.push({ first, last });
  }

  /** What was on its way is not in the store after all. */
  rollBack(): void {
    this.#runs = this.#runs.filter(({ first }) => first <= this.committed);
    const run = this.#runs.at(-1);
    if (run !== undefined) run.last = Math.min(run.last, this.committed);
  }

  /** The number of the next row after this number; Infinity when there is none. */
  next(after: number): number {
    for (let at = 0; at < this.#runs.length; at += 1) {
      const run = this.#runs[at];
      if (run !== undefined && run.last > after) return Math.max(run.first, after + 1);
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Those that are being inserted. */
  underWay(): number[] {
    const found: number[] = [];
    for (let seq = this.next(this.committed); seq < Number.POSITIVE_INFINITY; seq = this.next(seq))
      found.push(seq);
    return found;
  }
}

/** Which of them a live document has in memory. */
export class Held {
  /** All up to this number. */
  upTo = 0;
  #beyond: Set<number> | undefined;

  take(rows: Rows, first: number, last: number): void {
    if (last <= this.upTo) return;
    if (rows.next(this.upTo) >= first) {
      this.upTo = last;
      this.#absorb(rows);
      return;
    }
    this.#beyond ??= new Set();
    for (let seq = first; seq <= last; seq += 1) this.#beyond.add(seq);
  }

  takeUpTo(rows: Rows, last: number): void {
    if (last <= this.upTo) return;
    this.upTo = last;
    this.#absorb(rows);
  }

  #absorb(rows: Rows): void {
    if (this.#beyond === undefined) return;
    for (let next = rows.next(this.upTo); this.#beyond.delete(next); next = rows.next(next)) this.upTo = next;
    if (this.#beyond.size === 0) this.#beyond = undefined;
  }
}
