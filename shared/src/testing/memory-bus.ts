import type { Bus, BusState, BusStats, Subscription } from "../bus.ts";

/** What becomes of one delivery. Delays of different length are what puts messages out of order. */
export type Fate = "pass" | "drop" | "twice" | { readonly delayMs: number };

/** Nodes of one process on one bus, with the faults that a real one has. */
export interface MemoryHub {
  join(): Bus;
  /** The node cannot use the bus and knows it: `down` at once. */
  cut(bus: Bus): void;
  /** Nothing reaches or leaves the node, and its bus still says `up`: the time before a real one has noticed. */
  mute(bus: Bus): void;
  heal(bus: Bus): void;
  /** Asked about every delivery from now on; undefined: each arrives once and in order. */
  disturb(fate: (() => Fate) | undefined): void;
}

export interface MemoryHubDeps {
  /** Runs something later, never at once; a test may turn the clock by hand. */
  readonly after?: (delayMs: number, run: () => void) => void;
}

export function createMemoryHub({ after = later }: MemoryHubDeps = {}): MemoryHub {
  const nodes = new Map<Bus, MemoryBus>();
  let fateOf: (() => Fate) | undefined;

  const send = (from: MemoryBus, channel: string, message: Uint8Array) => {
    for (const node of nodes.values()) {
      if (node === from) continue;
      const fate = fateOf?.() ?? "pass";
      if (fate === "drop") continue;
      // Every receiver gets bytes of its own, as from a network.
      const arrive = () => node.deliver(channel, message.slice());
      after(typeof fate === "object" ? fate.delayMs : 0, arrive);
      if (fate === "twice") after(0, arrive);
    }
  };
  const node = (bus: Bus): MemoryBus => {
    const found = nodes.get(bus);
    if (found === undefined) throw new Error("this bus is not, or no longer, of this hub");
    return found;
  };
  return {
    join() {
      const joined = new MemoryBus({ after, send, leave: (bus) => nodes.delete(bus) });
      nodes.set(joined, joined);
      return joined;
    },
    cut: (bus) => node(bus).connect("cut"),
    mute: (bus) => node(bus).connect("muted"),
    heal: (bus) => node(bus).connect("whole"),
    disturb: (fate) => {
      fateOf = fate;
    },
  };
}

/** Chances of a delivery; what is left over passes. */
export interface FaultChances {
  readonly drop: number;
  readonly twice: number;
  readonly late: number;
  readonly lateMs: number;
}

/** The same seed gives the same fates. */
export function seededFates(seed: number, { drop, twice, late, lateMs }: FaultChances): () => Fate {
  const random = seededRandom(seed);
  return () => {
    const drawn = random();
    if (drawn < drop) return "drop";
    if (drawn < drop + twice) return "twice";
    return drawn < drop + twice + late ? { delayMs: Math.floor(random() * lateMs) } : "pass";
  };
}

interface MemoryBusDeps {
  readonly after: (delayMs: number, run: () => void) => void;
  readonly send: (from: MemoryBus, channel: string, message: Uint8Array) => void;
  readonly leave: (bus: MemoryBus) => void;
}

interface Listening {
  readonly hear: (message: Uint8Array) => void;
}

class MemoryBus implements Bus {
  readonly #deps: MemoryBusDeps;
  readonly #channels = new Map<string, Set<Listening>>();
  readonly #observers = new Set<{ readonly changed: (state: BusState) => void }>();
  /** Answers of subscriptions that are not active yet. */
  readonly #waiting = new Set<(active: boolean) => void>();
  readonly #counts = {
    published: 0,
    publishedBytes: 0,
    received: 0,
    receivedBytes: 0,
    dropped: 0,
    refused: 0,
  };
  #connection: "whole" | "muted" | "cut" | "closed" = "whole";

  constructor(deps: MemoryBusDeps) {
    this.#deps = deps;
  }

  get state(): BusState {
    return this.#connection === "whole" || this.#connection === "muted" ? "up" : "down";
  }

  publish(channel: string, message: Uint8Array): void {
    if (this.state === "down") {
      this.#counts.dropped += 1;
      return;
    }
    this.#counts.published += 1;
    this.#counts.publishedBytes += message.length;
    if (this.#connection === "whole") this.#deps.send(this, channel, message.slice());
  }

  subscribe(channel: string, listener: (message: Uint8Array) => void): Subscription {
    if (this.#connection === "closed") return { active: Promise.resolve(false), end: () => undefined };
    const listening = { hear: listener };
    const listeners = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, listeners.add(listening));
    const { promise: active, resolve } = Promise.withResolvers<boolean>();
    this.#waiting.add(resolve);
    if (this.state === "down") this.#confirm(resolve);
    else this.#deps.after(0, () => this.#confirm(resolve));
    return {
      active,
      end: () => {
        this.#answer(resolve, false);
        listeners.delete(listening);
        if (listeners.size === 0 && this.#channels.get(channel) === listeners) this.#channels.delete(channel);
      },
    };
  }

  whenChanged(listener: (state: BusState) => void): () => void {
    const observer = { changed: listener };
    this.#observers.add(observer);
    return () => void this.#observers.delete(observer);
  }

  stats(): BusStats {
    return { ...this.#counts };
  }

  async close(): Promise<void> {
    this.#observers.clear();
    this.#channels.clear();
    this.connect("closed");
    this.#deps.leave(this);
  }

  /** For the hub. */
  connect(connection: "whole" | "muted" | "cut" | "closed"): void {
    const before = this.state;
    this.#connection = connection;
    const { state } = this;
    for (const resolve of this.#waiting) this.#confirm(resolve);
    if (state === before) return;
    for (const observer of Array.from(this.#observers))
      if (this.#observers.has(observer)) observer.changed(state);
  }

  /** For the hub. */
  deliver(channel: string, message: Uint8Array): void {
    const listeners = this.#channels.get(channel);
    if (listeners === undefined || this.#connection !== "whole") return;
    this.#counts.received += 1;
    this.#counts.receivedBytes += message.length;
    for (const listening of Array.from(listeners)) if (listeners.has(listening)) listening.hear(message);
  }

  /** While muted there is no answer, as from a Redis that says nothing. */
  #confirm(resolve: (active: boolean) => void): void {
    if (this.#connection !== "muted") this.#answer(resolve, this.state === "up");
  }

  #answer(resolve: (active: boolean) => void, active: boolean): void {
    if (this.#waiting.delete(resolve)) resolve(active);
  }
}

function later(delayMs: number, run: () => void): void {
  if (delayMs <= 0) setImmediate(run);
  else setTimeout(run, delayMs);
}

/** Uniform in [0, 1): mulberry32, by Tommy Ettinger. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
