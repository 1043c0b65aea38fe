import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { Failure } from "@scriptorium/shared";
import jwt from "jsonwebtoken";
import { z } from "zod";
import type { Keys, SigningKey } from "./keys.ts";

/** What an access token says. Times are Unix ms. */
export interface AccessClaims {
  readonly userId: string;
  readonly sessionId: string;
  readonly expiresAt: number;
}

export interface AccessTokens {
  issue(who: { userId: string; sessionId: string }): Promise<string>;
  /** Throws `unauthenticated` or `token_expired`. Says nothing about whether the session is alive. */
  verify(token: string): Promise<AccessClaims>;
}

export const ACCESS_TOKEN_SECONDS = 600;
const ISSUER = "scriptorium";
const AUDIENCE = "scriptorium";
/** Nodes' clocks may differ by this much. */
const CLOCK_TOLERANCE_SECONDS = 30;
const TOKEN_CHARS = 4096;

const Payload = z.object({ typ: z.literal("access"), sub: z.string(), sid: z.string(), exp: z.number() });

export function createAccessTokens(deps: { keys: Keys; now: () => number }): AccessTokens {
  const nowSeconds = () => Math.floor(deps.now() / 1000);
  const objects = new WeakMap<SigningKey, { privateKey: KeyObject; publicKey: KeyObject }>();
  const objectsOf = (key: SigningKey) => {
    const made = objects.get(key) ?? {
      privateKey: createPrivateKey({ key: key.privateJwk, format: "jwk" }),
      publicKey: createPublicKey({ key: key.publicJwk, format: "jwk" }),
    };
    objects.set(key, made);
    return made;
  };

  return {
    issue: async ({ userId, sessionId }) => {
      const key = await deps.keys.signing();
      const payload = {
        typ: "access",
        sid: sessionId,
        iat: nowSeconds(),
        exp: nowSeconds() + ACCESS_TOKEN_SECONDS,
      };
      return jwt.sign(payload, objectsOf(key).privateKey, {
        algorithm: "ES256",
        keyid: key.kid,
        subject: userId,
        issuer: ISSUER,
        audience: AUDIENCE,
      });
    },
    verify: async (token) => {
      const kid = token.length <= TOKEN_CHARS ? kidOf(token) : undefined;
      const key = kid === undefined ? undefined : await deps.keys.find(kid);
      if (key === undefined) throw new Failure("unauthenticated");
      const payload = Payload.safeParse(check(token, objectsOf(key).publicKey, nowSeconds()));
      if (!payload.success) throw new Failure("unauthenticated");
      const { sub, sid, exp } = payload.data;
      return { userId: sub, sessionId: sid, expiresAt: exp * 1000 };
    },
  };
}

function kidOf(token: string): string | undefined {
  try {
    return jwt.decode(token, { complete: true })?.header.kid;
  } catch (error) {
    // jsonwebtoken parses the payload before it checks anything and throws on what is not JSON.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function check(token: string, key: KeyObject, clockTimestamp: number): unknown {
  try {
    return jwt.verify(token, key, {
      algorithms: ["ES256"],
      issuer: ISSUER,
      audience: AUDIENCE,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      clockTimestamp,
    });
  } catch (error) {
    if (error instanceof jwt.TokenExpiredError) throw new Failure("token_expired");
    // Whatever else verify throws is about the token too: a signature of the wrong length is a TypeError.
    throw new Failure("unauthenticated", undefined, { cause: error });
  }
}
