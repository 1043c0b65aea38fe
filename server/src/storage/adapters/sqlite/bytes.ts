const encoder = new TextEncoder();

/** Builds one buffer out of small values, so that a batch crosses to the store's thread as one transferred block. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  /** The buffer grows by itself; `capacity` only spares the growing. */
  constructor(capacity: number) {
    this.#bytes = new Uint8Array(Math.max(capacity, 64));
  }

  /** A whole number from 0 to 2^53 - 1, seven bits a byte. */
  uint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      // `%` and not `&`: bit operators would cut the number to 32 bits.
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  text(value: string): void {
    const start = this.#length;
    this.#reserve(value.length + 8);
    this.uint(value.length);
    for (let i = 0; i < value.length; i += 1) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        this.#length = start;
        this.blob(encoder.encode(value));
        return;
      }
      this.#bytes[this.#length++] = code;
    }
  }

  blob(value: Uint8Array): void {
    this.uint(value.length);
    this.raw(value);
  }

  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** What was written; its buffer belongs to the caller from here on. */
  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Reads what ByteWriter wrote. Its input is our own: a wrong byte is a bug and throws. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  uint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new RangeError("packed bytes end within a number");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  text(): string {
    const length = this.uint();
    this.#at += length;
    return this.#bytes.toString("utf8", this.#at - length, this.#at);
  }

  /** A view, not a copy: it lives in the buffer that is read. */
  blob(): Uint8Array {
    const length = this.uint();
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new RangeError("packed bytes end within a blob");
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + this.#at - length, length);
  }

  rest(): string {
    return this.#bytes.toString("utf8", this.#at);
  }
}
