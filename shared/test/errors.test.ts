import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FAILURES, Failure, isFailureCode, shouldReconnect } from "@scriptorium/shared";

/** 1009 too big, 1011 bug, 1012 restart, 1013 try later. */
const STANDARD = new Set([1009, 1011, 1012, 1013]);
const failures = Object.entries(FAILURES);

describe("the failure table", () => {
  for (const [code, { http, close, title }] of failures) {
    it(`${code}: an HTTP error, a close code of a known range and a sentence for people`, () => {
      assert.ok(http >= 400 && http <= 599, `HTTP ${http}`);
      assert.ok(STANDARD.has(close) || (close >= 4400 && close <= 4599), `close ${close}`);
      assert.match(title, /^[A-Z][^.]+$/);
      assert.match(code, /^[a-z]+(_[a-z]+)*$/);
    });
  }

  it("a failure that may pass by itself is never reported as a denial", () => {
    const transient = failures.filter(([, { http }]) => http >= 500);
    for (const [code, { close }] of transient) {
      assert.ok(shouldReconnect(close), `${code} closes with ${close}, which tells the client to stay away`);
    }
    assert.ok(transient.length > 0);
  });

  it("a denial never asks the client to come back", () => {
    const denials = failures.filter(([, { http }]) => [401, 403, 404, 410].includes(http));
    for (const [code, { close }] of denials)
      assert.ok(!shouldReconnect(close), `${code} closes with ${close}`);
    assert.ok(denials.length > 0);
  });

  it("close codes 44xx mean stay away, 45xx and the standard ones mean come back", () => {
    assert.deepEqual([4399, 4400, 4499, 4500, 4599].map(shouldReconnect), [true, false, false, true, true]);
    for (const code of STANDARD) assert.ok(shouldReconnect(code));
  });

  it("a Failure carries its code, and its title when nothing more is said", () => {
    const cause = new Error("disk");
    const failure = new Failure("try_later", undefined, { cause });
    assert.deepEqual(
      [failure.code, failure.message, failure.cause],
      ["try_later", FAILURES.try_later.title, cause],
    );
    assert.equal(new Failure("conflict", "twice").message, "twice");
  });

  it("only the table's own keys are failure codes", () => {
    assert.ok(failures.every(([code]) => isFailureCode(code)));
    for (const other of ["toString", "__proto__", "", "Forbidden"]) assert.ok(!isFailureCode(other), other);
  });
});
