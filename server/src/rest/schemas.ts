import { z } from "zod";

/** Pieces of route schemas that every noun needs. */
export { PROBLEMS } from "./problems.ts";

export const NO_CONTENT = z.undefined().describe("Done");
/** For routes behind requireCaller. */
export const SECURED = { security: [{ bearer: [] }] };

export const page = <Item extends z.ZodType>(item: Item) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });
