import { spawnServer, type ServerProcess } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import type { Page } from "playwright-core";
import { noBrowser, openHouse, until, type House, type Seat } from "./support/browser.ts";
import { badgeOf, recordBadge, textOf, toEnd, untilBadge, untilEqual } from "./support/browser-notes.ts";
import { sitTogether, type Together } from "./support/browser-people.ts";

const KEY_MS = 15;
/** What Chromium says about a socket that was cut, and about a server that is not there. */
const CUT = /WebSocket connection to .* failed|net::ERR_(CONNECTION|EMPTY|SOCKET)/;

const words = (word: string, count: number): string =>
  Array.from({ length: count }, (_, index) => `${word}${index + 1}`).join(" ");
const ADA_WORDS = words("ada", 12);
const BO_WORDS = words("bo", 12);

async function type(page: Page, text: string): Promise<void> {
  await page.keyboard.type(text, { delay: KEY_MS });
}

function lineOf(text: string, word: string): string {
  return text.split("\n").find((line) => line.startsWith(word)) ?? "";
}

describe("a broken network", { skip: noBrowser }, () => {
  let house: House;
  let server: ServerProcess;
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "scriptorium-test-"));
    // The server knows the files of the client that are there when it starts.
    house = await openHouse();
    server = await spawnServer({ dir });
  });
  afterEach(() => house.clear());
  after(async () => {
    await house.close();
    await server.kill("SIGTERM");
    await rm(dir, { recursive: true, force: true });
  });

  /** Both have a line of their own, with the caret at its end, and all is saved. */
  const begin = async (): Promise<Together & { seats: Seat[]; pages: Page[] }> => {
    const team = await sitTogether(house, server);
    const seats = [team.adaSeat, team.boSeat];
    const pages = seats.map((seat) => seat.page);
    await toEnd(team.adaSeat.page);
    await type(team.adaSeat.page, "ada0 \n");
    await toEnd(team.boSeat.page);
    await until(async () => assert.equal(await textOf(team.boSeat.page), "ada0 \n"));
    await toEnd(team.boSeat.page);
    await type(team.boSeat.page, "bo0 ");
    await team.adaSeat.page.keyboard.press("ArrowUp");
    await team.adaSeat.page.keyboard.press("End");
    await untilEqual(pages, { notes: team.notes, asking: team.ada });
    for (const page of pages) await untilBadge(page, "saved");
    for (const seat of seats) seat.expectError(CUT);
    return { ...team, seats, pages };
  };

  const WHOLE = `ada0 ${ADA_WORDS}\nbo0 ${BO_WORDS}`;

  it("cut: both write on, the badge says so, and on return both have everything once", async () => {
    const { seats, pages, adaSeat, boSeat, notes, ada: asking } = await begin();
    seats.forEach(({ wire }) => wire.cut());
    for (const page of pages) await untilBadge(page, "offline");
    const records = await Promise.all(pages.map(recordBadge));
    await Promise.all([type(adaSeat.page, ADA_WORDS), type(boSeat.page, BO_WORDS)]);
    assert.equal((await badgeOf(adaSeat.page)).unsaved, ADA_WORDS.length);
    assert.equal((await badgeOf(boSeat.page)).unsaved, BO_WORDS.length);
    for (const record of records) {
      assert.deepEqual([...new Set((await record()).states.map(({ state }) => state))], ["offline"]);
    }
    assert.match((await badgeOf(adaSeat.page)).says, new RegExp(`Offline, ${ADA_WORDS.length} changes kept`));
    assert.equal(await asking.markdown(notes), "ada0 \nbo0 ");
    seats.forEach(({ wire }) => wire.heal());
    assert.equal(await untilEqual(pages, { notes, asking }), WHOLE);
    for (const page of pages) await untilBadge(page, "saved");
  });

  it("half dead: an open socket that passes nothing never makes the badge say saved", async () => {
    const { seats, pages, adaSeat, boSeat, notes, ada: asking } = await begin();
    const records = await Promise.all(pages.map(recordBadge));
    seats.forEach(({ wire }) => wire.silence());
    await Promise.all([type(adaSeat.page, ADA_WORDS), type(boSeat.page, BO_WORDS)]);
    await until(async () => assert.match((await badgeOf(adaSeat.page)).says, /server is not answering/));
    for (const [index, typed] of [ADA_WORDS, BO_WORDS].entries()) {
      const states = (await records[index]?.())?.states ?? [];
      assert.deepEqual(states[0], { state: "saved", unsaved: 0 });
      assert.ok(
        states.slice(1).every(({ state }) => state === "pending"),
        JSON.stringify(states),
      );
      assert.equal(states.at(-1)?.unsaved, typed.length);
    }
    assert.equal(await asking.markdown(notes), "ada0 \nbo0 ");
    // What Ada sent arrives late; what Bo sent is lost with the connection.
    adaSeat.wire.heal();
    boSeat.wire.reset();
    assert.equal(await untilEqual(pages, { notes, asking }), WHOLE);
    for (const page of pages) await untilBadge(page, "saved");
  });

  it("kill -9 while both type: they return by themselves, with all that was acknowledged and nothing twice", async () => {
    const { seats, pages, adaSeat, boSeat, notes, ada: asking } = await begin();
    const records = await Promise.all(pages.map(recordBadge));
    const [adaTypes, boTypes] = [words("ada", 30), words("bo", 30)];
    const typeBoth = (from: number, to?: number) =>
      Promise.all([type(adaSeat.page, adaTypes.slice(from, to)), type(boSeat.page, boTypes.slice(from, to))]);
    await typeBoth(0, 30);
    for (const page of pages) await untilBadge(page, "saved");
    const typing = typeBoth(30);
    await until(async () => assert.match(await asking.markdown(notes), /ada10[^]*bo10/));
    await server.kill("SIGKILL");
    seats.forEach(({ wire }) => wire.cut());
    await typing;
    for (const page of pages) await untilBadge(page, "offline");
    const acknowledged = await Promise.all(records.map(async (record) => (await record()).saved ?? ""));

    server = await spawnServer({ dir, env: { PORT: String(server.port) } });
    const survived = await asking.markdown(notes);
    for (const [index, word] of ["ada0", "bo0"].entries()) {
      const promised = lineOf(acknowledged[index] ?? "", word);
      assert.ok(promised.length > 30, `"${promised}" is less than was saved before the kill`);
      assert.ok(lineOf(survived, word).startsWith(promised), `of "${promised}" there is "${survived}"`);
    }
    const whole = `ada0 ${adaTypes}\nbo0 ${boTypes}`;
    assert.notEqual(survived, whole, "the kill came too late to show anything");
    seats.forEach(({ wire }) => wire.heal());
    assert.equal(await untilEqual(pages, { notes, asking }), whole);
    for (const page of pages) await untilBadge(page, "saved");
  });

  it("what is written offline survives a reload at once, and is merged once, whatever is reloaded or opened twice", async () => {
    const { pages, adaSeat, boSeat, notes, ada: asking } = await begin();
    adaSeat.wire.cut();
    await untilBadge(adaSeat.page, "offline");
    await Promise.all([type(adaSeat.page, ADA_WORDS), type(boSeat.page, BO_WORDS)]);
    await adaSeat.page.reload();
    assert.equal(await textOf(adaSeat.page), `ada0 ${ADA_WORDS}\nbo0 `);
    const { unsaved } = await untilBadge(adaSeat.page, "offline");
    assert.equal(unsaved, ADA_WORDS.length);
    const secondTab = await adaSeat.openTab();
    await secondTab.goto(adaSeat.page.url());
    assert.equal(await textOf(secondTab), `ada0 ${ADA_WORDS}\nbo0 `);
    assert.equal(await asking.markdown(notes), `ada0 \nbo0 ${BO_WORDS}`);

    adaSeat.wire.heal();
    const everywhere = [...pages, secondTab];
    assert.equal(await untilEqual(everywhere, { notes, asking }), WHOLE);
    for (let round = 0; round < 5; round += 1) {
      await (round % 2 === 0 ? adaSeat.page : secondTab).reload();
      await untilBadge(adaSeat.page, "saved");
    }
    assert.equal(await untilEqual(everywhere, { notes, asking }), WHOLE);
    for (const page of everywhere) await untilBadge(page, "saved");
  });
});
