import fc from "fast-check";
import * as Y from "yjs";

/** A history of several authors who edit concurrently, exchange their states now and then, and lose some updates. */
export interface History {
  readonly steps: readonly Step[];
  /** Every n-th update is missing, so that what depends on it stays parked; 0 loses none. */
  readonly lost: number;
}

interface Step {
  readonly author: number;
  readonly kind: "insert" | "delete" | "set" | "exchange";
  readonly at: number;
  readonly text: string;
}

const AUTHORS = 3;

const step: fc.Arbitrary<Step> = fc.record({
  author: fc.nat({ max: AUTHORS - 1 }),
  kind: fc.constantFrom("insert", "insert", "insert", "delete", "set", "exchange"),
  at: fc.nat({ max: 1_000 }),
  text: fc.oneof(fc.constantFrom("a", "word ", "🧪", "论文 ", "👩‍🔬"), fc.string({ maxLength: 30 })),
});

export const history: fc.Arbitrary<History> = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 40 }),
  lost: fc.constantFrom(0, 0, 5),
});

/** The updates of a history, in the order of their making. */
export function historyOf({ steps, lost }: History): { updates: Uint8Array[] } {
  const updates: Uint8Array[] = [];
  let made = 0;
  const docs = Array.from({ length: AUTHORS }, (_, author) => {
    const doc = new Y.Doc();
    doc.clientID = author + 1;
    doc.on("update", (update: Uint8Array, origin: unknown) => {
      if (origin === "exchange") return;
      made += 1;
      if (lost === 0 || made % lost !== 0) updates.push(update);
    });
    return doc;
  });
  for (const next of steps) {
    const doc = docs[next.author];
    if (doc !== undefined) apply(doc, docs, next);
  }
  return { updates };
}

function apply(doc: Y.Doc, docs: readonly Y.Doc[], { kind, at, text }: Step): void {
  const body = doc.getText("md");
  switch (kind) {
    case "insert":
      return body.insert(at % (body.length + 1), text);
    case "delete":
      if (body.length > 0) body.delete(at % body.length, Math.min(4, body.length - (at % body.length)));
      return;
    case "set":
      doc.getMap("meta").set(`key${at % 5}`, text);
      return;
    case "exchange":
      for (const other of docs) Y.applyUpdate(doc, Y.encodeStateAsUpdate(other), "exchange");
      return;
    default:
      throw new Error(`no such step: ${String(kind satisfies never)}`);
  }
}

/** Everything that two replicas must agree on; what waits for missing updates is part of it. */
export function contentOf(doc: Y.Doc): unknown {
  const { pendingStructs, pendingDs } = doc.store;
  return {
    text: doc.getText("md").toJSON(),
    meta: doc.getMap("meta").toJSON(),
    vector: Object.fromEntries(Y.decodeStateVector(Y.encodeStateVector(doc))),
    missing: Object.fromEntries(pendingStructs?.missing ?? []),
    parked: pendingDs !== null,
  };
}
