import { randomBytes } from "node:crypto";
import { newId, type Streams } from "@scriptorium/shared";
import { z } from "zod";

/** Who all nodes on one store are together; what keeps two installations on one Redis apart. */
const Installation = z.object({
  id: z.string(),
  /** Known to whoever may read the store: seals what nodes tell each other over the bus. */
  busSecret: z.instanceof(Uint8Array),
});
export type Installation = Readonly<z.infer<typeof Installation>>;

const STREAM = "installation";
const SECRET_BYTES = 32;

/**
 * The installation that this store belongs to. Decided by the first append: of nodes that start at once on an empty
 * store one wins, and the others read what it wrote.
 */
export async function openInstallation(streams: Streams, now: () => number): Promise<Installation> {
  const head = await streams.head(STREAM);
  if (head !== undefined) return Installation.parse(head.entry);
  const made: Installation = { id: newId(now()), busSecret: new Uint8Array(randomBytes(SECRET_BYTES)) };
  await streams.append(STREAM, { at: 1, entry: made });
  return openInstallation(streams, now);
}
