import * as Y from "yjs";

/**
 * Whether an update can be decoded to its end and is one that Yjs could have made: found out before any of it is
 * applied. Yjs itself checks neither. It takes a struct or a deletion of no length and one that refers to its own future,
 * and throws later: at the end of the transaction, at every reading of the document, at its loading and in its peers.
 */
export function isWellFormed(update: Uint8Array): boolean {
  try {
    const { structs, ds } = Y.decodeUpdate(update);
    for (const struct of structs) if (struct.length < 1 || refersAhead(struct)) return false;
    for (const ranges of ds.clients.values()) for (const range of ranges) if (range.len < 1) return false;
    return true;
  } catch {
    // Whatever lib0 and Yjs throw while decoding foreign bytes means "malformed".
    return false;
  }
}

type Struct = ReturnType<typeof Y.decodeUpdate>["structs"][number];

/** Another client's future is waited for; one's own cannot be, and Yjs looks it up at once. */
function refersAhead(struct: Struct): boolean {
  if (!(struct instanceof Y.Item)) return false;
  const { client, clock } = struct.id;
  return [struct.origin, struct.rightOrigin, struct.parent].some(
    (id) => id instanceof Y.ID && id.client === client && id.clock >= clock,
  );
}
