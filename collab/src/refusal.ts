import { Failure, type FailureCode } from "@scriptorium/shared";

/**
 * What our Hocuspocus hooks throw. Hocuspocus prints `message` to the console and sends `reason` to the client, so the
 * message is empty and the reason is the stable code.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly reason: FailureCode;

  constructor(reason: FailureCode) {
    super("");
    this.reason = reason;
  }
}

/** A failure that the client caused keeps its code; everything else is "cannot tell now", never a denial. */
export function refusalOf(error: unknown): Refusal {
  return new Refusal(error instanceof Failure ? error.code : "try_later");
}
