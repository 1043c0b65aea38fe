import type { Link } from "./link.ts";

/** Frames that are joined into one write are copied; above this size two writes are cheaper than the copy. */
const JOIN_BYTES = 64 * 1024;

/**
 * Writes the outboxes of links, one system call each and turn of the event loop. A broadcast queues the same frames on
 * many links, so the joined bytes of the last combination are kept and written again.
 */
export class Flusher {
  #soon: Link[] = [];
  #turn: NodeJS.Immediate | undefined;
  #microtask = false;
  #first: Uint8Array | undefined;
  #second: Uint8Array | undefined;
  #joined: Uint8Array | undefined;

  /** After the code that runs now, before the event loop goes on. */
  soon(link: Link): void {
    this.#add(link);
    if (this.#microtask) return;
    this.#microtask = true;
    queueMicrotask(() => this.#flush());
  }

  /** At the end of this turn, so that an acknowledgement shares a write with the broadcast of the same turn. */
  withTurn(link: Link): void {
    this.#add(link);
    this.#turn ??= setImmediate(() => this.#flush());
  }

  #add(link: Link): void {
    link.scheduled = true;
    this.#soon.push(link);
  }

  #flush(): void {
    this.#microtask = false;
    clearImmediate(this.#turn);
    this.#turn = undefined;
    const links = this.#soon;
    this.#soon = [];
    for (const link of links) link.scheduled = false;
    for (const link of links) this.#write(link, link.takeOutbox());
    this.#first = undefined;
    this.#second = undefined;
    this.#joined = undefined;
  }

  #write(link: Link, frames: Uint8Array[]): void {
    const [first, second] = frames;
    if (first === undefined) return;
    if (second === undefined) return link.write(first);
    if (frames.length === 2 && this.#first === first && this.#second === second && this.#joined !== undefined)
      return link.write(this.#joined);
    const size = frames.reduce((sum, bytes) => sum + bytes.length, 0);
    if (size > JOIN_BYTES) {
      for (const bytes of frames) link.write(bytes);
      return;
    }
    const joined = Buffer.concat(frames, size);
    link.write(joined);
    if (frames.length !== 2) return;
    this.#first = first;
    this.#second = second;
    this.#joined = joined;
  }
}
