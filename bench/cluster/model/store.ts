/** The database: readings of the log, so many a second, in the order in which they are asked for. */
export class StoreModel {
  /** Readings since counting began. */
  readings = 0;
  #queue: (() => void)[] = [];
  #next = 0;
  #due = 0;
  readonly #perMs: number;

  constructor(readingsPerSecond: number) {
    this.#perMs = readingsPerSecond / 1000;
  }

  read(done: () => void): void {
    this.readings += 1;
    this.#queue.push(done);
  }

  /** Ends those that are due. */
  pass(ms: number): void {
    this.#due = Math.min(this.#due + ms * this.#perMs, Math.max(1, ms * this.#perMs));
    const end = Math.min(this.#queue.length, this.#next + Math.floor(this.#due));
    for (; this.#next < end; this.#next += 1, this.#due -= 1) this.#queue[this.#next]?.();
    // What is done is let go, without moving what is left at every step.
    if (this.#next * 2 < this.#queue.length) return;
    this.#queue.splice(0, this.#next);
    this.#next = 0;
  }
}
