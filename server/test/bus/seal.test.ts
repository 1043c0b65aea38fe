import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createSeal, SEAL_BYTES, type Opening } from "../../src/bus/seal.ts";

describe("the seal of the bus", () => {
  const secret = randomBytes(32);
  const node = () => createSeal({ secret, messageBytes: 1000 });
  const [a, b] = [node(), node()];
  const bodyOf = (opening: Opening) => (opening.kind === "message" ? [...opening.body] : opening.kind);

  it("opens what another node with the same secret has sealed for this channel", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.uint8Array({ maxLength: 1000 }), (channel, message) => {
        const sealed = a.seal(channel, message);
        assert.equal(sealed.length, message.length + SEAL_BYTES);
        assert.deepEqual(bodyOf(b.open(channel, sealed)), [...message]);
      }),
    );
  });

  it("refuses every change of a bit, of the length and of the channel", () => {
    const sealed = a.seal("notes:1", Buffer.from("an edit"));
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(b.open("notes:1", changed).kind, "refused", `bit ${bit}`);
    }
    for (let length = 0; length < sealed.length; length += 1) {
      assert.equal(b.open("notes:1", sealed.subarray(0, length)).kind, "refused", `${length} bytes`);
    }
    assert.equal(b.open("notes:1", Buffer.concat([sealed, Buffer.of(0)])).kind, "refused");
    for (const channel of ["", "notes:", "notes:2", "notes:1 ", "Notes:1", "notes:11"])
      assert.equal(b.open(channel, sealed).kind, "refused", channel);
  });

  it("refuses what was sealed with another secret, or without one", () => {
    const foreign = createSeal({ secret: randomBytes(32), messageBytes: 1000 });
    assert.equal(b.open("c", foreign.seal("c", Buffer.from("x"))).kind, "refused");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        assert.equal(b.open("c", Buffer.from(noise)).kind, "refused");
      }),
    );
  });

  it("keeps the end of the channel and the beginning of the message apart", () => {
    const sealed = a.seal("ab", Buffer.from("c"));
    assert.equal(b.open("a", sealed).kind, "refused");
    // The tag of (channel "1:x") must not serve for a channel whose length and name read the same.
    const tags = ["1:x", "1", "x", ":x", "3:1:x"].map((channel) =>
      a.seal(channel, Buffer.of()).toString("hex"),
    );
    assert.equal(new Set(tags).size, tags.length);
  });

  it("tells its own messages, and takes none for its own that it has not sent", () => {
    const sealed = a.seal("c", Buffer.from("x"));
    assert.equal(a.open("c", sealed).kind, "own");
    assert.equal(b.open("c", sealed).kind, "message");
  });

  it("opens nothing twice, and nothing that is older than what it has opened, on whatever channel", () => {
    const [sender, other, listener] = [node(), node(), node()];
    const [first, second, third] = ["c", "c", "d"].map((channel) =>
      sender.seal(channel, Buffer.from(channel)),
    );
    assert.ok(first && second && third);
    const kinds = (channel: string, ...all: Buffer[]) =>
      all.map((sealed) => listener.open(channel, sealed).kind);
    assert.deepEqual(kinds("c", second, second, first), ["message", "repeated", "repeated"]);
    assert.deepEqual(kinds("c", other.seal("c", Buffer.of())), ["message"], "each sender counts for itself");
    assert.deepEqual(kinds("d", third), ["message"]);
    assert.deepEqual(
      kinds("c", third),
      ["refused"],
      "of another channel, which tells nothing about its number",
    );
    const renumbered = Buffer.from(second);
    renumbered[SEAL_BYTES - 1] = 9;
    assert.deepEqual(kinds("c", renumbered), ["refused"]);
  });

  it("refuses messages over the limit, however well sealed", () => {
    const generous = createSeal({ secret, messageBytes: 5000 });
    assert.equal(b.open("c", generous.seal("c", Buffer.alloc(1000))).kind, "message");
    assert.equal(b.open("c", generous.seal("c", Buffer.alloc(1001))).kind, "refused");
  });

  it("wants a secret of full length", () => {
    assert.throws(() => createSeal({ secret: randomBytes(31), messageBytes: 1 }), RangeError);
  });
});
