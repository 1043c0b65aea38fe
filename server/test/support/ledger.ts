import { WebSocket, type RawData } from "ws";
import { MESSAGE, SYNC } from "@scriptorium/shared";

/**
 * What a server has promised to one Hocuspocus provider, read off the wire: each update that the client sent and for
 * which a SyncStatus(true) came. Acknowledgements come in the order of the updates, one each.
 */
export interface Ledger {
  /** The promised updates, oldest first. */
  readonly promised: readonly Uint8Array[];
  /** The class to give to the provider as WebSocketPolyfill. */
  readonly Socket: new (url: string) => WebSocket;
}

export function createLedger(): Ledger {
  const promised: Uint8Array[] = [];
  class LedgerSocket extends WebSocket {
    /** Sent on this socket and not acknowledged; what a lost socket leaves here was never promised. */
    readonly #sent: Uint8Array[] = [];

    constructor(url: string) {
      super(url);
      // A provider that is destroyed while it connects has taken its own listener off by then.
      this.on("error", () => undefined);
      this.on("message", (data: RawData) => {
        if (!isAcknowledgement(bytesOf(data))) return;
        const update = this.#sent.shift();
        if (update === undefined) throw new Error("an acknowledgement of nothing");
        promised.push(update);
      });
    }

    override send(data: Parameters<WebSocket["send"]>[0], ...rest: never[]): void {
      const update = data instanceof Uint8Array ? updateIn(data) : undefined;
      if (update !== undefined) this.#sent.push(update);
      super.send(data, ...rest);
    }
  }
  return { promised, Socket: LedgerSocket };
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return new Uint8Array(data);
}

/** The update that a message of the Hocuspocus dialect carries, if any. */
function updateIn(message: Uint8Array): Uint8Array | undefined {
  // A pong, which has no address.
  if (message.length === 1) return undefined;
  const reader = new HeadReader(message);
  reader.skip(reader.uint());
  if (reader.uint() !== MESSAGE.sync) return undefined;
  const kind = reader.uint();
  if (kind !== SYNC.step2 && kind !== SYNC.update) return undefined;
  reader.uint();
  return Uint8Array.from(reader.rest());
}

function isAcknowledgement(message: Uint8Array): boolean {
  if (message.length < 3) return false;
  const reader = new HeadReader(message);
  reader.skip(reader.uint());
  return reader.uint() === MESSAGE.syncStatus && reader.uint() === 1;
}

/** lib0's encoding, as far as the head of a message needs it. */
class HeadReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  uint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new RangeError("the message ends within its head");
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  }

  skip(length: number): void {
    this.#at += length;
  }

  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at);
  }
}
