import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { isId } from "@scriptorium/shared";

/** What a refresh token says: `family.generation.secret.mac`, the last of which only this installation can make. */
export interface RefreshToken {
  readonly family: string;
  readonly n: number;
  readonly secret: string;
}

export interface RefreshTokenFormat {
  write(token: RefreshToken): Promise<string>;
  /** Undefined for what this installation did not write. */
  read(text: string): Promise<RefreshToken | undefined>;
}

export function refreshTokenFormat(mac: (text: string) => Promise<string>): RefreshTokenFormat {
  const macOf = ({ family, n, secret }: RefreshToken) => mac(`refresh|${family}|${n}|${secret}`);
  return {
    write: async (token) => `${token.family}.${token.n}.${token.secret}.${await macOf(token)}`,
    read: async (text) => {
      const [family = "", n = "", secret = "", shownMac = "", ...rest] = text.split(".");
      if (!isId(family) || !/^[1-9]\d{0,8}$/.test(n) || secret === "" || rest.length > 0) return undefined;
      const token = { family, n: Number(n), secret };
      return sameText(shownMac, await macOf(token)) ? token : undefined;
    },
  };
}

export const newSecret = () => randomBytes(16).toString("base64url");
export const hashSecret = (secret: string) => createHash("sha256").update(secret).digest("base64url");

export function sameText(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}
