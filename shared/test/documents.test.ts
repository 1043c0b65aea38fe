import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DOCUMENT_KINDS, formatDocumentName, newId, parseDocumentName } from "@scriptorium/shared";

const id = fc.stringMatching(/^[0-9A-HJKMNP-TV-Z]{26}$/);
const documentName = fc.record({ kind: fc.constantFrom(...DOCUMENT_KINDS), id }, { noNullPrototype: true });

describe("document names", () => {
  it("what is formatted is parsed back", () => {
    fc.assert(
      fc.property(documentName, (name) =>
        assert.deepEqual(parseDocumentName(formatDocumentName(name)), name),
      ),
    );
  });

  it("whatever is parsed is exactly what formatting it gives, so one document has one name", () => {
    const almost = fc
      .tuple(documentName.map(formatDocumentName), fc.nat(32), fc.nat(2), fc.string({ maxLength: 2 }))
      .map(([text, at, cut, insert]) => text.slice(0, at) + insert + text.slice(at + cut));
    fc.assert(
      fc.property(fc.oneof(almost, fc.string()), (text) => {
        const parsed = parseDocumentName(text);
        if (parsed !== undefined) assert.equal(formatDocumentName(parsed), text);
      }),
      { numRuns: 2_000 },
    );
  });

  it("refuses unknown kinds, other ids, and anything before, between or after", () => {
    const paper = newId();
    const bad = [
      "",
      ":",
      paper,
      "notes",
      "notes:",
      `:${paper}`,
      `anno:${paper}`,
      `Notes:${paper}`,
      `notes::${paper}`,
      `notes:${paper}:`,
      `notes:${paper}\n`,
      ` notes:${paper}`,
      `notes: ${paper}`,
      `notes:${paper.toLowerCase()}`,
      `notes:${paper}0`,
      `notes:../${paper}`,
      `notes:${paper}/../${paper}`,
      `notes:${paper}\u0000`,
      `__proto__:${paper}`,
      `constructor:${paper}`,
    ];
    for (const text of bad) assert.equal(parseDocumentName(text), undefined, JSON.stringify(text));
  });
});
