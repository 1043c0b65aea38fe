import { argon2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { Failure } from "@scriptorium/shared";

const argon2Async = promisify(argon2);

export interface PasswordCost {
  /** OWASP's floor for argon2id: m = 19456 KiB, t = 2, p = 1. */
  readonly memoryKiB: number;
  readonly passes: number;
  /** Hashes computed at once; each occupies a libuv thread and memoryKiB. */
  readonly concurrency: number;
  /** Callers that may wait for a free place; beyond, `overloaded`. */
  readonly queue: number;
}

export interface Passwords {
  /** A PHC string. */
  hash(password: string): Promise<string>;
  /**
   * Whether the password matches, and whether the hash was made at another cost and should be renewed. Without a stored
   * hash (unknown user) the same work is done and the answer is no.
   */
  verify(password: string, stored: string | undefined): Promise<{ ok: boolean; outdated: boolean }>;
}

interface Phc {
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly salt: Buffer;
  readonly tag: Buffer;
}

const PHC =
  /^\$argon2id\$v=19\$m=(?<m>\d+),t=(?<t>\d+),p=(?<p>\d+)\$(?<salt>[A-Za-z0-9+/]+)\$(?<tag>[A-Za-z0-9+/]+)$/;
const RETRY_AFTER_SECONDS = 2;

export function createPasswords(cost: PasswordCost): Passwords {
  const places = createPlaces(cost);
  const own = { memory: cost.memoryKiB, passes: cost.passes, parallelism: 1 };
  /** What an unknown user name is compared with: no password has this tag. */
  const nobody: Phc = { ...own, salt: randomBytes(16), tag: Buffer.alloc(32) };

  return {
    hash: async (password) => {
      const salt = randomBytes(16);
      const tag = await places.run(() => derive(password, { ...own, salt, tag: nobody.tag }));
      return format({ ...own, salt, tag });
    },
    verify: async (password, stored) => {
      const expected = stored === undefined ? nobody : parse(stored);
      const tag = await places.run(() => derive(password, expected));
      const ok = timingSafeEqual(tag, expected.tag) && stored !== undefined;
      return { ok, outdated: expected.memory !== own.memory || expected.passes !== own.passes };
    },
  };
}

/** The same text typed on another keyboard may be composed differently; NFKC makes it one password. */
async function derive(password: string, phc: Phc): Promise<Buffer> {
  return argon2Async("argon2id", {
    message: password.normalize("NFKC"),
    nonce: phc.salt,
    parallelism: phc.parallelism,
    tagLength: phc.tag.length,
    memory: phc.memory,
    passes: phc.passes,
  });
}

function format(phc: Phc): string {
  const base64 = (value: Buffer) => value.toString("base64").replace(/=+$/, "");
  return `$argon2id$v=19$m=${phc.memory},t=${phc.passes},p=${phc.parallelism}$${base64(phc.salt)}$${base64(phc.tag)}`;
}

function parse(text: string): Phc {
  const groups = PHC.exec(text)?.groups;
  if (groups === undefined) throw new Error("a stored password hash is not an argon2id PHC string");
  return {
    memory: Number(groups["m"]),
    passes: Number(groups["t"]),
    parallelism: Number(groups["p"]),
    salt: Buffer.from(groups["salt"] ?? "", "base64"),
    tag: Buffer.from(groups["tag"] ?? "", "base64"),
  };
}

function createPlaces(bound: { concurrency: number; queue: number }) {
  const waiting: (() => void)[] = [];
  let busy = 0;
  return {
    run: async <T>(work: () => Promise<T>): Promise<T> => {
      if (busy >= bound.concurrency) {
        if (waiting.length >= bound.queue) {
          throw new Failure("overloaded", undefined, { retryAfterSeconds: RETRY_AFTER_SECONDS });
        }
        // The place is handed over by the one that leaves, so `busy` stays as it is.
        const turn = Promise.withResolvers<undefined>();
        waiting.push(() => turn.resolve(undefined));
        await turn.promise;
      } else {
        busy += 1;
      }
      try {
        return await work();
      } finally {
        const next = waiting.shift();
        if (next === undefined) busy -= 1;
        else next();
      }
    },
  };
}
