import { randomBytes } from "node:crypto";
import type { Bus, BusState, Subscription } from "@scriptorium/shared";
import { parseRedisAddress } from "./address.ts";
import { createLine, type Line, type LineLimits } from "./line.ts";
import { createOutbox, type Outbox, type OutboxLimits } from "./outbox.ts";
import { createPulse, type Pulse, type PulseLimits } from "./pulse.ts";
import { createSeal, type Seal } from "./seal.ts";
import { createSubscriptions, type Subscriptions } from "./subscriptions.ts";

/** Every bound of the bus on Redis. */
export interface RedisBusLimits extends PulseLimits, LineLimits, OutboxLimits {
  readonly channelsPerCommand: number;
  /** How long close() waits for what was published. */
  readonly closeMs: number;
}

export const REDIS_BUS_LIMITS: RedisBusLimits = {
  probeMs: 1_000,
  silentMs: 3_000,
  // Revocation is to act within a second on every node.
  lateMs: 1_000,
  // About 5,000 small messages without an answer: many turns' worth at all that one core can publish.
  queuedBytes: 8 * 1024 * 1024,
  messageBytes: 1024 * 1024,
  // With names of 60 bytes 70 KB a command: a millisecond of Redis' time, in which it serves nobody else.
  channelsPerCommand: 1_000,
  // Everybody finds a Redis that is back within this and a moment; 100 nodes are then some 130 attempts a second.
  reconnectMs: 2_000,
  closeMs: 500,
};

export interface RedisBusDeps {
  /** `redis://` or `rediss://`, see parseRedisAddress. */
  readonly url: string;
  /**
   * Begins the name of every channel, and is made from the installation's id: two installations on one Redis must not
   * hear each other, and its database numbers do not keep them apart, since publishing takes no account of them.
   */
  readonly prefix: string;
  /** Of the installation, at least 32 bytes; seals every message. */
  readonly secret: Uint8Array;
  readonly log: BusLog;
  readonly limits?: Partial<RedisBusLimits>;
  /** Monotonic, in milliseconds. */
  readonly steady?: () => number;
}

/** pino's shape. */
export interface BusLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/**
 * The bus on Redis' publish and subscribe, with a connection for each. It begins `down` and is `up` as soon as it can be;
 * whether the address is right is for checkRedis to say, once, at the start. Throws for an address that cannot be read.
 */
export function createRedisBus(deps: RedisBusDeps): Bus {
  return new RedisBus(deps);
}

class RedisBus implements Bus {
  readonly #prefix: string;
  readonly #limits: RedisBusLimits;
  readonly #log: BusLog;
  readonly #seal: Seal;
  readonly #publisher: Line;
  readonly #subscriber: Line;
  readonly #outbox: Outbox;
  readonly #subscriptions: Subscriptions;
  readonly #pulse: Pulse;
  /** The channel of this node's probes. */
  readonly #inbox: string;
  readonly #observers = new Set<{ readonly changed: (state: BusState) => void }>();
  readonly #counts = {
    published: 0,
    publishedBytes: 0,
    received: 0,
    receivedBytes: 0,
    dropped: 0,
    refused: 0,
  };
  /** Logged last about the connections, so that every reason is said once and not at every attempt. */
  #said: string | undefined;
  #closed: Promise<void> | undefined;

  constructor({ url, prefix, secret, log, limits, steady = () => performance.now() }: RedisBusDeps) {
    this.#prefix = prefix;
    this.#limits = { ...REDIS_BUS_LIMITS, ...limits };
    this.#log = log;
    this.#inbox = `${prefix}probe:${randomBytes(12).toString("hex")}`;
    this.#seal = createSeal({ secret, messageBytes: this.#limits.messageBytes });
    this.#subscriptions = this.#createSubscriptions();
    this.#publisher = this.#connect(url, "publisher");
    this.#subscriber = this.#connect(url, "subscriber");
    this.#outbox = createOutbox({ line: this.#publisher, seal: this.#seal, limits: this.#limits });
    this.#pulse = this.#createPulse(steady, secret);
    this.#subscriptions.add(this.#inbox, (probe) => this.#pulse.heard(probe), false);
    // Buffers, since as text the bytes would be no longer those that were sent.
    this.#subscriber.redis.on("messageBuffer", (channel: unknown, sealed: unknown) => {
      // Null is what else the protocol allows there. What is thrown here ends the process: ioredis throws it anew.
      if (Buffer.isBuffer(channel) && Buffer.isBuffer(sealed)) this.#receive(channel.toString(), sealed);
      else this.#counts.refused += 1;
    });
  }

  get state(): BusState {
    return this.#pulse.state;
  }

  publish(channel: string, message: Uint8Array): void {
    if (this.state === "down" || !this.#outbox.publish(this.#prefix + channel, message)) {
      this.#counts.dropped += 1;
      return;
    }
    this.#counts.published += 1;
    this.#counts.publishedBytes += message.length;
  }

  subscribe(channel: string, listener: (message: Uint8Array) => void): Subscription {
    if (this.#closed !== undefined) return { active: Promise.resolve(false), end: () => undefined };
    return this.#subscriptions.add(this.#prefix + channel, listener, this.state === "up");
  }

  whenChanged(listener: (state: BusState) => void): () => void {
    const observer = { changed: listener };
    this.#observers.add(observer);
    return () => void this.#observers.delete(observer);
  }

  stats() {
    return { ...this.#counts };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#observers.clear();
    this.#subscriptions.close();
    this.#pulse.stop();
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const bound = setTimeout(resolve, this.#limits.closeMs);
    await Promise.race([this.#outbox.emptied(), late]);
    clearTimeout(bound);
    await Promise.all([this.#publisher.close(), this.#subscriber.close()]);
  }

  #createSubscriptions(): Subscriptions {
    return createSubscriptions({
      channelsPerCommand: this.#limits.channelsPerCommand,
      send: async (command, channels) => {
        const { redis } = this.#subscriber;
        this.#subscriber.gather();
        try {
          await redis[command](...channels);
          return true;
        } catch (error) {
          // The next connection subscribes everything again.
          this.#subscriber.failed(error);
          return false;
        }
      },
      whenSettled: () => this.#pulse.settled(),
      whenThrown: (error) => this.#log.error({ err: error }, "a listener of the bus threw"),
    });
  }

  #connect(url: string, role: "publisher" | "subscriber"): Line {
    const address = parseRedisAddress(url);
    return createLine({
      address,
      name: `scriptorium-${role}`,
      limits: this.#limits,
      whenReady: () => {
        if (role === "subscriber") this.#subscriptions.connected();
        this.#pulse.settled();
      },
      whenLost: () => {
        if (role === "subscriber") this.#subscriptions.disconnected();
        this.#pulse.broken();
      },
      whenFailed: (why) => {
        if (this.#said === why) return;
        this.#said = why;
        this.#log.warn({ redis: address.shown, connection: role, why }, "Redis cannot be used");
      },
    });
  }

  #createPulse(steady: () => number, secret: Uint8Array): Pulse {
    const both = [this.#publisher, this.#subscriber];
    // As if another node had sent them, so that they are checked like messages of others.
    const stranger = createSeal({ secret, messageBytes: this.#limits.messageBytes });
    return createPulse({
      limits: this.#limits,
      steady,
      isWhole: () => both.every((line) => line.ready) && this.#subscriptions.unconfirmed === 0,
      send: (probe) => this.#outbox.probe(this.#inbox, stranger.seal(this.#inbox, probe)),
      watch: (at) => {
        this.#publisher.watch(at, this.#outbox.owed);
        this.#subscriber.watch(at, this.#subscriptions.unconfirmed > 0);
      },
      cut: () => both.forEach((line) => line.cut()),
      whenChanged: (state, why) => this.#changed(state, why),
    });
  }

  #changed(state: BusState, why: string): void {
    if (state === "up") {
      this.#said = undefined;
      this.#publisher.proven();
      this.#subscriber.proven();
      this.#log.info({}, "the bus is up");
    } else {
      this.#subscriptions.giveUp();
      this.#log.warn({ why }, "the bus is down: other nodes are heard through the store until it is back");
    }
    for (const observer of Array.from(this.#observers)) {
      if (this.#observers.has(observer)) observer.changed(state);
    }
  }

  #receive(channel: string, sealed: Buffer): void {
    if (!this.#subscriptions.wants(channel)) return;
    const opening = this.#seal.open(channel, sealed);
    if (opening.kind === "refused" || opening.kind === "repeated") this.#counts.refused += 1;
    if (opening.kind !== "message") return;
    if (channel !== this.#inbox) {
      this.#counts.received += 1;
      this.#counts.receivedBytes += opening.body.length;
    }
    this.#subscriptions.deliver(channel, opening.body);
  }
}
