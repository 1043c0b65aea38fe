import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { isId, newId } from "@scriptorium/shared";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIME_CHARS = 10;
/** 48 bits: the year 10889. */
const instant = fc.nat(2 ** 48 - 1);

describe("ids", () => {
  it("an id has 26 characters that need no escaping in a URL", () => {
    fc.assert(
      fc.property(instant, (at) => {
        const id = newId(at);
        assert.equal(id.length, 26);
        assert.equal(encodeURIComponent(id), id);
        assert.ok(isId(id));
      }),
    );
  });

  it("ids of different milliseconds sort as text in the order of their making", () => {
    fc.assert(
      fc.property(instant, instant, (a, b) => {
        fc.pre(a !== b);
        assert.equal(newId(a) < newId(b), a < b);
      }),
    );
  });

  it("an id gives back the millisecond of its making", () => {
    fc.assert(
      fc.property(instant, (at) => {
        const digits = newId(at).slice(0, TIME_CHARS);
        assert.equal(
          Array.from(digits).reduce((time, digit) => time * 32 + ALPHABET.indexOf(digit), 0),
          at,
        );
      }),
    );
  });

  it("every character of the random part is equally likely at every place", () => {
    const perCharacter = 1_000;
    const ids = Array.from({ length: perCharacter * ALPHABET.length }, () => newId());
    for (let place = TIME_CHARS; place < 26; place += 1) {
      const counts = new Map<string, number>();
      for (const id of ids) counts.set(id.charAt(place), (counts.get(id.charAt(place)) ?? 0) + 1);
      assert.equal(counts.size, ALPHABET.length, `place ${place}`);
      // Chi-squared with 31 degrees of freedom: above 100 once in 4e9 fair runs; a modulo bias of one byte value gives thousands.
      const chi2 = [...counts.values()].reduce((sum, n) => sum + (n - perCharacter) ** 2 / perCharacter, 0);
      assert.ok(chi2 < 100, `place ${place}: chi-squared ${chi2}`);
    }
    assert.equal(new Set(ids).size, ids.length);
  });

  it("refuses what is not exactly an id", () => {
    const id = newId();
    const bad = [
      "",
      id.slice(1),
      `${id}0`,
      id.toLowerCase(),
      ` ${id}`,
      `${id}\n`,
      id.replace(/.$/, "U"),
      "__proto__",
    ];
    for (const text of bad) assert.ok(!isId(text), JSON.stringify(text));
    fc.assert(fc.property(fc.string(), (text) => isId(text) === /^[0-9A-HJKMNP-TV-Z]{26}$/.test(text)));
  });
});
