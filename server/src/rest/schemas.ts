import { z } from "zod";
import { PROBLEMS } from "./problems.ts";

/** Pieces of route schemas that every noun needs. */

interface Described {
  readonly tags: readonly string[];
  readonly summary: string;
  readonly response: object;
}

/** A route that everybody may call. */
export function open<S extends Described>(schema: S) {
  return { schema: { ...schema, response: { ...schema.response, ...PROBLEMS } } };
}

/** A route behind requireCaller. */
export function secured<S extends Described>(schema: S) {
  return { schema: { ...schema, security: [{ bearer: [] }], response: { ...schema.response, ...PROBLEMS } } };
}

export const NO_CONTENT = z.undefined().describe("Done");

export const page = <Item extends z.ZodType>(item: Item) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });
