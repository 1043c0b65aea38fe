import { spawnServer, type ServerProcess } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { Page } from "playwright-core";
import { noBrowser, openHouse, until, type House, type Seat } from "./support/browser.ts";
import { caretsOf, peopleOf, toEnd, untilBadge, untilEqual } from "./support/browser-notes.ts";
import { ADA, BO, fillIn } from "./support/browser-people.ts";

/** A person's keystrokes. Not faster than a fast typist, so that the two really take turns. */
const KEY_MS = 15;

/** Types lines with a slip and its correction now and then, as people do. */
async function write(page: Page, text: string): Promise<void> {
  for (const [index, line] of text.split("\n").entries()) {
    if (index > 0) await page.keyboard.press("Enter");
    await page.keyboard.type(line, { delay: KEY_MS });
    await page.keyboard.type("xy", { delay: KEY_MS });
    await page.keyboard.press("Backspace", { delay: KEY_MS });
    await page.keyboard.press("Backspace", { delay: KEY_MS });
  }
}

/** Presses undo or redo until there is surely nothing left to undo or redo. */
async function pressAll(page: Page, key: string): Promise<void> {
  for (let presses = 0; presses < 40; presses += 1) await page.keyboard.press(key);
}

const ADA_WRITES = `## Dense retrieval
Two encoders, one inner product.
Hard negatives matter more than
batch size beyond 128.`;
const BO_WRITES = `稠密检索：问题与段落分别编码。
在 NQ 上 top-20 准确率 78.4%，
比 BM25 高 9 到 19 个百分点。`;

describe("two people in real browsers", { skip: noBrowser }, () => {
  let house: House;
  let server: ServerProcess;
  before(async () => {
    // The server knows the files of the client that are there when it starts.
    house = await openHouse();
    server = await spawnServer();
  });
  afterEach(() => house.clear());
  after(async () => {
    await house.close();
    await server.kill("SIGTERM");
  });

  const register = async (seat: Seat, name: string): Promise<void> => {
    await seat.page.goto("/register");
    await fillIn(seat.page, "register", name);
  };

  /** A project with Bo in it and a paper, all by hand; the paper is open afterwards. */
  const sharePaper = async ({ page }: Seat): Promise<string> => {
    await page.getByTestId("new-project").click();
    await page.getByTestId("project-name").fill("Retrieval");
    await page.getByTestId("submit-project").click();
    await page.getByTestId("add-member").click();
    await page.getByTestId("member-username").fill("李博");
    await page.getByTestId("submit-member").click();
    await until(async () => assert.equal(await page.getByTestId("member").count(), 2));
    await page.getByTestId("new-paper").click();
    await page.getByTestId("paper-title").fill("Dense retrieval");
    await page.getByTestId("submit-paper").click();
    for (const [field, value] of Object.entries({ doi: "doi:10.1000/182", publicationYear: "2020" })) {
      await page.getByTestId(`paper-${field}`).fill(value);
    }
    for (const author of ["Karpukhin, Vladimir", "Oğuz, Barlas"]) {
      await page.getByTestId("paper-authors").fill(author);
      await page.keyboard.press("Enter");
    }
    await until(async () =>
      assert.equal(await page.getByTestId("paper-save").getAttribute("data-state"), "saved"),
    );
    return page.url().split("/papers/")[1] ?? "";
  };

  it("register, share a paper, write its notes at once, see each other's carets and undo only their own", async () => {
    const [ada, bo] = await Promise.all([house.seat(server.port, ADA), house.seat(server.port, BO)]);
    await Promise.all([register(ada, "Ada"), register(bo, "李博")]);
    const pages = [ada.page, bo.page];
    const notes = `notes:${await sharePaper(ada)}`;

    await bo.page.reload();
    await bo.page.getByTestId("project-card").click();
    await bo.page.getByTestId("paper-row").click();
    await until(async () => assert.equal(await bo.page.getByTestId("paper-doi").inputValue(), "10.1000/182"));
    for (const page of pages) {
      await toEnd(page);
      await until(async () => assert.deepEqual(await peopleOf(page), ["Ada", "李博"]));
    }

    await Promise.all([write(ada.page, ADA_WRITES), write(bo.page, BO_WRITES)]);
    const asking = await server.login("Ada");
    const text = await untilEqual(pages, { notes, asking });
    assert.ok(text.includes(ADA_WRITES) && text.includes(BO_WRITES), text);
    assert.equal(text.length, ADA_WRITES.length + BO_WRITES.length);
    await until(async () => {
      assert.deepEqual(await caretsOf(ada.page), [{ name: "李博", behind: BO_WRITES.split("\n").at(-1) }]);
      assert.deepEqual(await caretsOf(bo.page), [{ name: "Ada", behind: ADA_WRITES.split("\n").at(-1) }]);
    });
    for (const page of pages) assert.equal((await untilBadge(page, "saved")).unsaved, 0);

    await pressAll(ada.page, "Control+z");
    assert.equal(await untilEqual(pages, { notes, asking }), BO_WRITES);
    await pressAll(ada.page, "Control+y");
    assert.equal(await untilEqual(pages, { notes, asking }), text);
  });
});
