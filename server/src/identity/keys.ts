import { createHmac, generateKeyPair, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { newId, type Streams } from "@scriptorium/shared";
import { z } from "zod";

const generateKeyPairAsync = promisify(generateKeyPair);

const Jwk = z.record(z.string(), z.unknown());
/** A signing key pair as it stands in the store. */
const SigningKey = z.object({
  kid: z.string(),
  /** Unix ms from which it signs. It is published from the moment it is stored. */
  signsFrom: z.number(),
  privateJwk: Jwk,
  publicJwk: Jwk,
});
export type SigningKey = Readonly<z.infer<typeof SigningKey>>;

export interface Keys {
  /** The newest key whose time has come. */
  signing(): Promise<SigningKey>;
  /** The key of a kid, or undefined. Looks into the store once more when another node may have made it. */
  find(kid: string): Promise<SigningKey | undefined>;
  /** Every key whose tokens may still be alive, or that will sign soon. */
  live(): Promise<SigningKey[]>;
  /** HMAC-SHA-256 under the server's own secret, base64url. */
  mac(text: string): Promise<string>;
}

const SIGNING = "keys:signing";
const SECRET = "keys:secret";
const KEPT_KEYS = 100;
/** A token with an unknown kid must not make us read the store each time. */
const REREAD_MS = 10_000;
/** Longer than an access token lives, so a key leaves the JWKS only after its last token is dead. */
const RETIRE_MS = 20 * 60_000;

/**
 * Keys are entries of a stream: the first is made at the first start, and when two nodes start at once one append wins
 * and the other node reads the winner's key. Rotation appends the next one with a later `signsFrom`.
 */
export function createKeys(deps: {
  streams: Streams;
  now: () => number;
  /** Milliseconds that never jump; by default the process's own. */
  steady?: () => number;
}): Keys {
  const { steady = () => performance.now() } = deps;
  let keys: SigningKey[] = [];
  let readAt = -Infinity;
  let secret: Promise<Buffer> | undefined;

  const load = async (): Promise<SigningKey[]> => {
    const stored = await deps.streams.read(SIGNING, 1, KEPT_KEYS);
    if (stored.length === 0) {
      await deps.streams.append(SIGNING, { at: 1, entry: await makeSigningKey(deps.now()) });
      return load();
    }
    keys = stored.map((item) => SigningKey.parse(item.entry));
    readAt = steady();
    return keys;
  };
  const loaded = async () => (keys.length === 0 ? load() : keys);

  return {
    signing: async () => newestDue(await loaded(), deps.now()),
    find: async (kid) => {
      const known = (await loaded()).find((key) => key.kid === kid);
      if (known !== undefined || steady() - readAt < REREAD_MS) return known;
      return (await load()).find((key) => key.kid === kid);
    },
    live: async () => {
      const all = steady() - readAt < REREAD_MS ? await loaded() : await load();
      const due = newestDue(all, deps.now());
      return all.filter((key) => key.signsFrom >= due.signsFrom || deps.now() - due.signsFrom < RETIRE_MS);
    },
    mac: async (text) => {
      secret ??= agreeOnSecret(deps.streams).catch((error: unknown) => {
        secret = undefined; // the store may be back at the next call
        throw error;
      });
      return createHmac("sha256", await secret)
        .update(text)
        .digest("base64url");
    },
  };
}

function newestDue(keys: readonly SigningKey[], nowMs: number): SigningKey {
  const due = keys.findLast((key) => key.signsFrom <= nowMs) ?? keys[0];
  if (due === undefined) throw new Error("there is no signing key");
  return due;
}

async function makeSigningKey(nowMs: number): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPairAsync("ec", { namedCurve: "P-256" });
  return {
    kid: newId(nowMs),
    signsFrom: nowMs,
    privateJwk: { ...privateKey.export({ format: "jwk" }) },
    publicJwk: { ...publicKey.export({ format: "jwk" }) },
  };
}

async function agreeOnSecret(streams: Streams): Promise<Buffer> {
  const head = await streams.head(SECRET);
  if (head !== undefined) return Buffer.from(String(head.entry["secret"]), "base64url");
  await streams.append(SECRET, { at: 1, entry: { secret: randomBytes(32).toString("base64url") } });
  return agreeOnSecret(streams);
}
