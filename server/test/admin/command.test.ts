import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mongoAddress, readCommand, Usage } from "../../src/admin/command.ts";

describe("the admin command line", () => {
  it("understands each command", () => {
    assert.deepEqual(readCommand([]), { name: "help" });
    assert.deepEqual(readCommand(["--help"]), { name: "help" });
    assert.deepEqual(readCommand(["backup", "a b"]), { name: "backup", file: "a b" });
    assert.deepEqual(readCommand(["check", "f"]), { name: "check", file: "f" });
    assert.deepEqual(readCommand(["restore", "f"]), { name: "restore", file: "f", signEveryoneOut: false });
    const restored = readCommand(["restore", "--sign-everyone-out", "f"]);
    assert.deepEqual(restored, { name: "restore", file: "f", signEveryoneOut: true });
    const to = "mongodb+srv://host/db";
    assert.deepEqual(readCommand(["move", "--to", to]), { name: "move", to });
    assert.deepEqual(readCommand(["move"]), { name: "move" });
  });

  it("repeats no address that it does not take, for there may be a password in it", () => {
    assert.equal(mongoAddress("mongodb://host/db", "MOVE_TO"), "mongodb://host/db");
    for (const bad of [undefined, "", "http://u:secret@host"])
      assert.throws(
        () => mongoAddress(bad, "MOVE_TO"),
        (error) =>
          error instanceof Usage && error.message.startsWith("MOVE_TO ") && !/secret/.test(error.message),
      );
  });

  for (const line of [
    "backups f",
    "backup",
    "backup f g",
    "backup --to mongodb://h f",
    "check",
    "restore --sign-out f",
    "move mongodb://host/db",
    "move --to http://host",
    "move --to mongodb://h f",
  ])
    it(`does not guess at ${line}`, () => {
      assert.throws(() => readCommand(line.split(" ")), Usage);
    });
});
