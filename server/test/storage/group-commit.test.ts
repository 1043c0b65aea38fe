import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { createGroupCommit } from "../../src/storage/adapters/sqlite/group-commit.ts";

interface Calls {
  put: { input: { readonly value: string }; output: number };
}

function bench() {
  const db = new DatabaseSync(":memory:");
  db.exec("CREATE TABLE t (value TEXT UNIQUE CHECK (value <> 'bad'))");
  const put = db.prepare("INSERT INTO t (value) VALUES (?)");
  const meter = { bytes: 0 };
  let undone = 0;
  const group = createGroupCommit<Calls>({
    db,
    meter,
    undone: () => {
      undone += 1;
    },
    execute({ input }) {
      meter.bytes += input.value.length;
      return put.run(input.value).changes;
    },
  });
  const run = (...values: string[]) =>
    group
      .run(values.map((value, id) => ({ id, kind: "put", input: { value } })))
      .map((answer) => ("value" in answer ? "ok" : answer.error.errcode));
  const kept = () =>
    db
      .prepare("SELECT value FROM t ORDER BY rowid")
      .all()
      .map((found) => found["value"]);
  return { db, group, meter, run, kept, undone: () => undone };
}

describe("group commit", () => {
  it("commits all that waits at once", () => {
    const { group, run, kept } = bench();
    assert.deepEqual(run("a", "b", "c"), ["ok", "ok", "ok"]);
    assert.deepEqual(kept(), ["a", "b", "c"]);
    assert.equal(group.commits, 1);
  });

  it("lets a request that breaks a constraint fail alone", () => {
    const { run, kept, meter, undone } = bench();
    const CHECK = 275;
    assert.deepEqual(run("a", "bad", "b"), ["ok", CHECK, "ok"]);
    assert.deepEqual(kept(), ["a", "b"]);
    assert.equal(meter.bytes, 2, "what was undone is not counted");
    assert.ok(undone() > 0);
  });

  it("refuses the whole group on a full disk, keeps nothing of it, and works again when there is room", () => {
    const { db, group, run, kept } = bench();
    run("before");
    const pages = Number(db.prepare("PRAGMA page_count").get()?.["page_count"]);
    db.exec(`PRAGMA max_page_count = ${pages}`);
    const FULL = 13;
    assert.deepEqual(run("small", "x".repeat(100_000), "y"), [FULL, FULL, FULL]);
    assert.deepEqual(kept(), ["before"]);
    assert.equal(db.isTransaction, false);
    assert.deepEqual(run("small"), ["ok"]);
    db.exec("PRAGMA max_page_count = 100000");
    assert.deepEqual(run("x".repeat(100_000)), ["ok"]);
    assert.equal(group.commits, 3);
  });
});
