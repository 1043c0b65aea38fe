import type { Subscription } from "@scriptorium/shared";

/** Who listens to which channel, and what of it the connection knows: one subscription a channel, however many listen. */
export interface Subscriptions {
  /** `mayWait`: whether `active` may be true; otherwise it is false at once. */
  add(channel: string, listener: (message: Uint8Array) => void, mayWait: boolean): Subscription;
  /** Whether anybody listens: a message may still come after the last one has ended. */
  wants(channel: string): boolean;
  deliver(channel: string, message: Uint8Array): void;
  /** A new connection, which knows of no channel: all are subscribed again. */
  connected(): void;
  disconnected(): void;
  /** Every `active` without an answer becomes false. */
  giveUp(): void;
  /** Channels that are wanted and not confirmed. */
  readonly unconfirmed: number;
  close(): void;
}

export interface SubscriptionsDeps {
  /** Sends one command for these channels. Resolves to whether it was confirmed; never rejects. */
  readonly send: (command: "subscribe" | "unsubscribe", channels: readonly string[]) => Promise<boolean>;
  /** A listener threw, which it must not. */
  readonly whenThrown: (error: unknown) => void;
  /** Nothing is unconfirmed any more. */
  readonly whenSettled: () => void;
  /** Bounds the size of one command and of its answer. */
  readonly channelsPerCommand: number;
}

interface Listening {
  readonly hear: (message: Uint8Array) => void;
}

interface Channel {
  readonly listening: Set<Listening>;
  /** The command that subscribes it on this connection; a later one, after ending in between, has another number. */
  command: number | undefined;
  confirmed: boolean;
  readonly waiting: Set<(active: boolean) => void>;
}

export function createSubscriptions(deps: SubscriptionsDeps): Subscriptions {
  return new SubscriptionTable(deps);
}

class SubscriptionTable implements Subscriptions {
  readonly #deps: SubscriptionsDeps;
  readonly #channels = new Map<string, Channel>();
  readonly #unconfirmed = new Set<Channel>();
  /** Channels that have gained their first or lost their last listener since the last commands. */
  readonly #changed = new Set<string>();
  #flush: NodeJS.Immediate | undefined;
  #connected = false;
  #commands = 0;

  constructor(deps: SubscriptionsDeps) {
    this.#deps = deps;
  }

  get unconfirmed(): number {
    return this.#unconfirmed.size;
  }

  add(name: string, listener: (message: Uint8Array) => void, mayWait: boolean): Subscription {
    const channel = this.#channels.get(name) ?? this.#open(name);
    const listening = { hear: listener };
    channel.listening.add(listening);
    const { promise: active, resolve } = Promise.withResolvers<boolean>();
    if (!mayWait || channel.confirmed) resolve(mayWait);
    else channel.waiting.add(resolve);
    return {
      active,
      end: () => {
        if (channel.waiting.delete(resolve)) resolve(false);
        if (channel.listening.delete(listening) && channel.listening.size === 0) this.#touch(name);
      },
    };
  }

  wants(name: string): boolean {
    return (this.#channels.get(name)?.listening.size ?? 0) > 0;
  }

  deliver(name: string, message: Uint8Array): void {
    const listening = this.#channels.get(name)?.listening ?? new Set<Listening>();
    // Those that listen now: one that is added by another hears from the next message on.
    for (const one of Array.from(listening)) {
      try {
        if (listening.has(one)) one.hear(message);
      } catch (error) {
        // Rethrown by ioredis it would end the process, and take the other listeners' message along.
        this.#deps.whenThrown(error);
      }
    }
  }

  connected(): void {
    this.#connected = true;
    for (const [name, channel] of this.#channels) {
      channel.command = undefined;
      channel.confirmed = false;
      this.#unconfirmed.add(channel);
      this.#changed.add(name);
    }
    this.#send();
  }

  disconnected(): void {
    this.#connected = false;
    for (const channel of this.#channels.values()) {
      channel.command = undefined;
      channel.confirmed = false;
      this.#unconfirmed.add(channel);
    }
  }

  giveUp(): void {
    for (const channel of this.#unconfirmed) answer(channel, false);
  }

  close(): void {
    clearImmediate(this.#flush);
    this.giveUp();
    this.#connected = false;
    this.#channels.clear();
    this.#unconfirmed.clear();
  }

  #open(name: string): Channel {
    const channel: Channel = {
      listening: new Set(),
      command: undefined,
      confirmed: false,
      waiting: new Set(),
    };
    this.#channels.set(name, channel);
    this.#unconfirmed.add(channel);
    this.#touch(name);
    return channel;
  }

  /** At the end of the turn, so that a document's channels, and those of many documents, are one command. */
  #touch(name: string): void {
    this.#changed.add(name);
    this.#flush ??= setImmediate(() => {
      this.#flush = undefined;
      this.#send();
    });
  }

  /** Redis answers the commands of a connection in order, so the last one sent for a channel is what holds. */
  #send(): void {
    const subscribe: string[] = [];
    const unsubscribe: string[] = [];
    for (const name of this.#changed) {
      const channel = this.#channels.get(name);
      if (channel === undefined) continue;
      if (channel.listening.size === 0) {
        this.#channels.delete(name);
        this.#unconfirmed.delete(channel);
        if (channel.command !== undefined) unsubscribe.push(name);
      } else if (this.#connected && channel.command === undefined) subscribe.push(name);
    }
    this.#changed.clear();
    if (!this.#connected) return;
    for (const names of chunks(unsubscribe, this.#deps.channelsPerCommand)) {
      void this.#deps.send("unsubscribe", names);
    }
    for (const names of chunks(subscribe, this.#deps.channelsPerCommand)) void this.#subscribe(names);
    if (this.#unconfirmed.size === 0) this.#deps.whenSettled();
  }

  async #subscribe(names: readonly string[]): Promise<void> {
    const command = ++this.#commands;
    for (const name of names) {
      const channel = this.#channels.get(name);
      if (channel !== undefined) channel.command = command;
    }
    if (!(await this.#deps.send("subscribe", names))) return;
    for (const name of names) {
      const channel = this.#channels.get(name);
      // Another number: it has ended and was subscribed again meanwhile, or the connection is another one.
      if (channel?.command !== command) continue;
      channel.confirmed = true;
      this.#unconfirmed.delete(channel);
      answer(channel, true);
    }
    if (this.#unconfirmed.size === 0) this.#deps.whenSettled();
  }
}

function answer(channel: Channel, active: boolean): void {
  for (const resolve of channel.waiting) resolve(active);
  channel.waiting.clear();
}

function* chunks<T>(all: readonly T[], size: number): Iterable<T[]> {
  for (let from = 0; from < all.length; from += size) yield all.slice(from, from + size);
}
