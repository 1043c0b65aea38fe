import type { Messages } from "../i18n/messages.ts";
import { LIMITS } from "../limits.ts";

type AuthTexts = Messages["auth"];

/** Letters with their marks, digits, _ and - of any script: the rule of `Username` in shared/protocol/rest.ts. */
const USERNAME = /^[\p{L}\p{N}_-][\p{L}\p{M}\p{N}_-]*$/u;

/** What is wrong with a user name that someone wants to register, in words; undefined when it is fine. */
export function usernameProblem(value: string, text: AuthTexts): string | undefined {
  const name = value.normalize("NFKC").trim();
  const { min, max } = LIMITS.usernameChars;
  if (name === "") return text.usernameEmpty;
  if (name.length < min) return text.usernameShort(min);
  if (name.length > max) return text.usernameLong(max);
  return USERNAME.test(name) ? undefined : text.usernameChars;
}

/** The same for a new password. */
export function passwordProblem(value: string, text: AuthTexts): string | undefined {
  const { min, max } = LIMITS.passwordChars;
  if (value === "") return text.passwordEmpty;
  if (value.length < min) return text.passwordShort(min);
  return value.length > max ? text.passwordLong(max) : undefined;
}
