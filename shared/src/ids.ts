const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIME_CHARS = 10;
const RANDOM_CHARS = 16;
const ID = /^[0-9A-HJKMNP-TV-Z]{26}$/;

/**
 * A new id: 26 characters in the ULID layout (48 bits of Unix milliseconds, 80 random bits), URL-safe, and sorted by
 * the time of its making to the millisecond. Works in the browser and in Node.
 */
export function newId(nowMs: number = Date.now()): string {
  let id = "";
  let time = nowMs;
  for (let i = 0; i < TIME_CHARS; i += 1) {
    id = CROCKFORD.charAt(time % 32) + id;
    time = Math.floor(time / 32);
  }
  for (const byte of crypto.getRandomValues(new Uint8Array(RANDOM_CHARS))) id += CROCKFORD.charAt(byte % 32);
  return id;
}

export function isId(value: string): boolean {
  return ID.test(value);
}
