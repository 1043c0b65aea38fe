import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePath, paths } from "../src/router.ts";

const id = "01J0000000000000000000000A";

test("every path that the client makes is a place it knows", () => {
  assert.deepEqual(parsePath(paths.projects), { at: "projects" });
  assert.deepEqual(parsePath(paths.signIn), { at: "sign-in" });
  assert.deepEqual(parsePath(paths.register), { at: "register" });
  assert.deepEqual(parsePath(paths.account), { at: "account" });
  assert.deepEqual(parsePath(paths.project(id)), { at: "project", projectId: id });
  assert.deepEqual(parsePath(paths.paper(id)), { at: "paper", paperId: id });
});

test("anything else is lost: odd ids, extra parts, names of object properties", () => {
  for (const path of [
    "/papers/",
    "/papers/x",
    `/papers/${id}/x`,
    `/projects/${id.toLowerCase()}`,
    "constructor",
  ]) {
    assert.deepEqual(parsePath(path), { at: "lost" }, path);
  }
});
