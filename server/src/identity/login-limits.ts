import { isIPv6 } from "node:net";
import { Failure } from "@scriptorium/shared";
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";

/** Numbers per window. All are soft: when the window is over everything is as before, no account is ever locked. */
export interface LoginLimitNumbers {
  readonly windowSeconds: number;
  readonly registrationsPerIp: number;
  readonly loginsPerIp: number;
  /** Wrong passwords for one account, from anywhere. */
  readonly failuresPerAccount: number;
  /** Wrong passwords for one account from one address. */
  readonly failuresPerPair: number;
}

export interface LoginLimits {
  /** Throws `login_limited` with the seconds to wait. */
  registration(ip: string): Promise<void>;
  /**
   * Runs one attempt. Failures are counted before the password is looked at and given back when it was right, so a
   * thousand attempts at once are not a thousand free tries.
   */
  attempt<T>(who: { ip: string; account: string }, work: () => Promise<T>): Promise<T>;
}

export function createLoginLimits(numbers: LoginLimitNumbers): LoginLimits {
  const limiter = (keyPrefix: string, points: number) =>
    new RateLimiterMemory({ keyPrefix, points, duration: numbers.windowSeconds });
  const registrations = limiter("registration", numbers.registrationsPerIp);
  const byIp = limiter("ip", numbers.loginsPerIp);
  const byAccount = limiter("account", numbers.failuresPerAccount);
  const byPair = limiter("pair", numbers.failuresPerPair);

  return {
    registration: (ip) => take(registrations, networkOf(ip)),
    attempt: async ({ ip, account }, work) => {
      const pair = `${networkOf(ip)} ${account}`;
      await take(byIp, networkOf(ip));
      await take(byPair, pair);
      await take(byAccount, account);
      const giveBack = async () => {
        await byPair.reward(pair, 1);
        await byAccount.reward(account, 1);
      };
      try {
        const result = await work();
        await giveBack();
        return result;
      } catch (error) {
        const wrong = error instanceof Failure && error.code === "wrong_credentials";
        if (!wrong) await giveBack();
        throw error;
      }
    },
  };
}

/** Whoever has one IPv6 address has the /64 around it. */
export function networkOf(ip: string): string {
  if (!isIPv6(ip) || ip.startsWith("::ffff:")) return ip;
  const [left = "", right = ""] = ip.split("::");
  const head = left.split(":").filter(Boolean);
  const tail = right.split(":").filter(Boolean);
  const zeros = ip.includes("::") ? Array.from({ length: 8 - head.length - tail.length }, () => "0") : [];
  return [...head, ...zeros, ...tail].slice(0, 4).join(":");
}

async function take(limiter: RateLimiterMemory, key: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (error) {
    if (!(error instanceof RateLimiterRes)) throw error;
    throw new Failure("login_limited", undefined, {
      retryAfterSeconds: Math.ceil(error.msBeforeNext / 1000),
    });
  }
}
