/** Rows `first` to `last` of a node have arrived, and something before them has not. */
interface Run {
  readonly first: number;
  last: number;
}

interface Mark {
  /** Every row of the node up to this number is in the document. */
  applied: number;
  run?: Run | undefined;
  /** Of those, rows that are there by inference alone: they were announced, and the log that was read after that did not list them. */
  inferred?: Run | undefined;
}

/** What a node that begins to read the log knows by then. */
export interface Reading {
  readonly runs: ReadonlyMap<string, Run>;
}

/** Nodes that a document remembers. Every start of a process is a new one, so old ones must go. */
const MOST_NODES = 256;

/**
 * Which rows of the other nodes a live document has. Nodes publish rows after they are committed, and in order, so
 * whoever announces row n says that all rows up to n are in the log: what is missing can be read there at once. Pure; the
 * property tests and the simulation in bench/cluster run it without a network.
 */
export class PeerMarks {
  readonly #marks = new Map<string, Mark>();
  #gaps = 0;

  /** Whether something was announced that the document does not have: the log must be read. */
  get behind(): boolean {
    return this.#gaps > 0;
  }

  /** Every row of the node up to this number is in the document. */
  appliedOf(node: string): number {
    return this.#marks.get(node)?.applied ?? 0;
  }

  /** Whether the document has the row for certain. One that the log lists all the same, though it was only inferred, was not there before. */
  has(node: string, seq: number): boolean {
    const mark = this.#marks.get(node);
    if (mark === undefined || seq > mark.applied) return false;
    const { inferred } = mark;
    return inferred === undefined || seq < inferred.first || seq > inferred.last;
  }

  /**
   * Rows of a node came: false when the document has all of them already. What a node did before it was first heard of
   * is missed until the log is read: it may not have known that anybody listens.
   */
  arrived(node: string, first: number, last: number): boolean {
    const mark = this.#open(node);
    if (last <= mark.applied) return false;
    if (first <= mark.applied + 1) {
      this.#advance(mark, last);
      return true;
    }
    const { run } = mark;
    if (run !== undefined && first >= run.first && last <= run.last) return false;
    if (run === undefined) this.#gaps += 1;
    if (run !== undefined && first >= run.first && first <= run.last + 1) run.last = last;
    else mark.run = { first, last };
    return true;
  }

  /** A node says that it has committed everything up to this row. */
  announced(node: string, last: number): void {
    this.arrived(node, last + 1, last);
  }

  /** To be called before the log is read: what is announced by now is in the log by now. */
  beginReading(): Reading {
    const runs = new Map<string, Run>();
    for (const [node, { run }] of this.#marks) if (run !== undefined) runs.set(node, run);
    return { runs };
  }

  /**
   * Everything that the log had when the reading began is in the document. False when a row that was announced before is
   * not listed: mostly it is in a part, but a store that is being replaced by another member of its set may answer from
   * before, and then it is to be read again.
   */
  finishReading({ runs }: Reading, isListed: (node: string, seq: number) => boolean): boolean {
    let sure = true;
    for (const [node, run] of runs) {
      const mark = this.#marks.get(node);
      if (mark === undefined || run.last <= mark.applied) continue;
      const [first, last] = [mark.applied + 1, run.first - 1];
      // Rows become visible in their order once they are committed, so the last one stands for all.
      if (first <= last && !isListed(node, last)) {
        sure = false;
        mark.inferred = { first: Math.min(first, mark.inferred?.first ?? first), last };
      }
      // Before the run by the log, the run itself as it came.
      this.#advance(mark, run.last);
    }
    return sure;
  }

  #open(node: string): Mark {
    let mark = this.#marks.get(node);
    if (mark !== undefined) return mark;
    mark = { applied: 0 };
    this.#marks.set(node, mark);
    if (this.#marks.size > MOST_NODES) this.#forgetOne(node);
    return mark;
  }

  /** The one that has been known longest. Should it be heard of again, the log will tell what it did. */
  #forgetOne(except: string): void {
    for (const [node, { run }] of this.#marks) {
      if (node === except || run !== undefined) continue;
      this.#marks.delete(node);
      return;
    }
  }

  #advance(mark: Mark, to: number): void {
    mark.applied = to;
    const { run } = mark;
    if (run === undefined || run.first > mark.applied + 1) return;
    mark.applied = Math.max(mark.applied, run.last);
    mark.run = undefined;
    this.#gaps -= 1;
  }
}
