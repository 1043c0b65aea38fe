/** The simulated time's step. Whatever is to happen happens at one; what takes less takes one. */
export const TICK_MS = 10;
const SLOTS = 1 << 13;

/** What is to happen when, up to eighty seconds ahead. */
export class Calendar {
  /** Milliseconds since the beginning. */
  now = 0;
  readonly #slots: (() => void)[][] = Array.from({ length: SLOTS }, () => []);
  #at = 0;

  after(ms: number, action: () => void): void {
    const ticks = Math.min(Math.max(1, Math.round(ms / TICK_MS)), SLOTS - 1);
    this.#slots[(this.#at + ticks) % SLOTS]?.push(action);
  }

  step(): void {
    this.#at = (this.#at + 1) % SLOTS;
    this.now += TICK_MS;
    const due = this.#slots[this.#at] ?? [];
    this.#slots[this.#at] = [];
    for (const action of due) action();
  }
}
