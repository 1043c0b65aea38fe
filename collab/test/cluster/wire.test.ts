import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodePresence, encodePresence, presencePieces } from "../../src/cluster/wire.ts";
import { DEFAULT_LIMITS } from "../../src/index.ts";

/** What the bus takes at most, of one message (server/src/bus/redis.ts). */
const BUS_BYTES = 1024 * 1024;

describe("what nodes say of who is on a document", () => {
  it("[CL7] finds room on the bus however many people there are, whatever they write with, and names each once", () => {
    // Three bytes each in UTF-8.
    const state = JSON.stringify({ name: "论".repeat(DEFAULT_LIMITS.awarenessBytes) });
    const entries = Array.from({ length: 500 }, (_, client) => ({ client, clock: 1, state }));
    const messages = presencePieces(entries).map((some) =>
      encodePresence({ node: "n", whole: false, entries: some }),
    );
    assert.ok(messages.length > 1);
    for (const message of messages) assert.ok(message.length < BUS_BYTES, `${message.length} bytes`);
    assert.deepEqual(
      messages.flatMap((message) => decodePresence(message)?.entries ?? []),
      entries,
    );
  });

  it("[CL7] is one message for as many as there mostly are, and none for nobody", () => {
    const entries = Array.from({ length: 100 }, (_, client) => ({ client, clock: 1, state: "{}" }));
    assert.deepEqual(presencePieces(entries), [entries]);
    assert.deepEqual(presencePieces([]), []);
  });
});
