import assert from "node:assert/strict";
import { test } from "node:test";
import { PatchPaperBody, type Paper } from "@scriptorium/shared";
import { addItems, bareDoi, changes, draftOf, problems } from "../src/paper/paper-draft.ts";

const paper: Paper = {
  id: "01J0000000000000000000000A",
  projectId: "01J0000000000000000000000B",
  title: "Sketch of the Analytical Engine",
  abstract: "",
  keywords: ["engine"],
  authors: ["Menabrea, Luigi"],
  tags: [],
  publicationYear: 0,
  publication: "",
  event: "",
  volume: "",
  issue: "",
  pages: "",
  url: "",
  doi: "",
  createdAt: "2026-01-01T00:00:00.000Z",
  updatedAt: "2026-01-01T00:00:00.000Z",
};

test("an untouched draft changes nothing", () => {
  assert.deepEqual(changes(paper, draftOf(paper)), {});
});

test("only fields that differ are sent, trimmed, in the shape of the PATCH body", () => {
  const draft = {
    ...draftOf(paper),
    volume: " 3 ",
    publicationYear: "1843",
    tags: ["history"],
    title: `${paper.title} `,
  };
  const body = changes(paper, draft);
  assert.deepEqual(body, { volume: "3", publicationYear: 1843, tags: ["history"] });
  assert.deepEqual(PatchPaperBody.parse(body), body);
});

test("a field that the server would refuse is named and not sent, the others are", () => {
  const draft = {
    ...draftOf(paper),
    title: " ",
    url: "ftp://x",
    doi: "11.1/x",
    publicationYear: "4000",
    event: "EC",
  };
  assert.deepEqual(
    [...problems(draft)],
    [
      ["title", "titleEmpty"],
      ["url", "urlInvalid"],
      ["doi", "doiInvalid"],
      ["publicationYear", "yearInvalid"],
    ],
  );
  assert.deepEqual(changes(paper, draft), { event: "EC" });
});

test("an emptied year is unknown again", () => {
  assert.deepEqual(changes({ ...paper, publicationYear: 1843 }, { ...draftOf(paper), publicationYear: "" }), {
    publicationYear: 0,
  });
});

test("a DOI is taken out of what people paste", () => {
  assert.equal(bareDoi("https://doi.org/10.1000/182"), "10.1000/182");
  assert.equal(bareDoi("doi: 10.1000/182"), "10.1000/182");
  assert.equal(bareDoi("10.1000/182"), "10.1000/182");
});

test("pasted items are split, trimmed and not repeated", () => {
  assert.deepEqual(addItems(["a"], " b ,a,, c", /,/), ["a", "b", "c"]);
});
