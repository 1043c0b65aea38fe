import assert from "node:assert/strict";
import { test } from "node:test";
import { FAILURES } from "@scriptorium/shared";
import { en } from "../src/i18n/en.ts";
import { zh } from "../src/i18n/zh.ts";

type Leaf = readonly [path: string, kind: string];

function leaves(value: unknown, path = ""): Leaf[] {
  if (typeof value !== "object" || value === null) return [[path, typeof value]];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, `${path}.${key}`));
}

test("both languages have the same texts, of the same kind", () => {
  assert.deepEqual(
    leaves(zh)
      .map(String)
      .toSorted((a, b) => a.localeCompare(b)),
    leaves(en)
      .map(String)
      .toSorted((a, b) => a.localeCompare(b)),
  );
});

test("no text is empty", () => {
  const texts = (value: unknown): unknown[] =>
    typeof value === "object" && value !== null ? Object.values(value).flatMap(texts) : [value];
  for (const text of [...texts(en), ...texts(zh)]) assert.notEqual(text, "");
});

test("every failure code has a text", () => {
  for (const code of Object.keys(FAILURES)) assert.ok(Object.hasOwn(en.failure, code), code);
});
