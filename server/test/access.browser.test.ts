import { spawnServer, type ServerProcess } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { Page } from "playwright-core";
import { noBrowser, openHouse, until, type House } from "./support/browser.ts";
import { badgeOf, editorOf, textOf, toEnd, untilBadge, untilEqual } from "./support/browser-notes.ts";
import { fillIn, sitTogether } from "./support/browser-people.ts";

/** How Chromium logs that a tab learned from the server that its session has ended. */
const SESSION_ENDED = /status of 401 .*\/auth\/refresh/;

/** Only what the editor itself lets in: typing into it as a person would, mouse first. */
async function tryToType(page: Page, text: string): Promise<void> {
  await editorOf(page).click();
  await page.keyboard.press("Control+End");
  await page.keyboard.type(text, { delay: 5 });
}

async function databases(page: Page): Promise<string[]> {
  return await page.evaluate<string[]>("indexedDB.databases().then((all) => all.map((one) => one.name))");
}

describe("access to open notes", { skip: noBrowser }, () => {
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

  it("goes and comes back with the role, in place, and the badge says why", async () => {
    const { adaSeat, boSeat, ada: asking, bo, project, notes } = await sitTogether(house, server);
    await tryToType(boSeat.page, "as editor ");
    await untilBadge(boSeat.page, "saved");

    const members = await adaSeat.openTab();
    await members.goto(`/projects/${project.id}`);
    const role = members.locator(`[data-user="${bo.user.id}"]`).getByTestId("role");
    await role.selectOption("viewer");
    const badge = await untilBadge(boSeat.page, "readonly");
    assert.deepEqual(
      { reason: badge.reason, unsaved: badge.unsaved, says: badge.says },
      { reason: "role", unsaved: 0, says: "只读：你的角色只能阅读" },
    );
    assert.equal(await editorOf(boSeat.page).getAttribute("contenteditable"), "false");
    await tryToType(boSeat.page, "as viewer ");
    await boSeat.page.keyboard.press("Control+z");
    assert.equal(await textOf(boSeat.page), "as editor ");
    // Reading goes on.
    await tryToType(adaSeat.page, "ada ");
    assert.equal(await untilEqual([adaSeat.page, boSeat.page], { notes, asking }), "as editor ada ");

    await role.selectOption("editor");
    await untilBadge(boSeat.page, "saved");
    assert.equal(await editorOf(boSeat.page).getAttribute("contenteditable"), "true");
    await tryToType(boSeat.page, "again");
    assert.equal(await untilEqual([adaSeat.page, boSeat.page], { notes, asking }), "as editor ada again");
    await untilBadge(boSeat.page, "saved");
  });

  it("that is lost while edits are on their way refuses them; with the role they are sent again", async () => {
    const { boSeat, ada, bo, project, notes } = await sitTogether(house, server);
    await tryToType(boSeat.page, "before ");
    await untilBadge(boSeat.page, "saved");
    boSeat.wire.silence();
    await tryToType(boSeat.page, "refused ");
    await ada.setRole(project.id, bo.user.id, "viewer");
    boSeat.wire.heal();
    const badge = await untilBadge(boSeat.page, "readonly");
    assert.equal(badge.unsaved, "refused ".length);
    await boSeat.page.getByTestId("stranded").waitFor();
    assert.equal(await ada.markdown(notes), "before ");

    await ada.setRole(project.id, bo.user.id, "editor");
    await untilBadge(boSeat.page, "saved");
    assert.equal(await ada.markdown(notes), "before refused ");
    await tryToType(boSeat.page, "after");
    await untilBadge(boSeat.page, "saved");
    assert.equal(await untilEqual([boSeat.page], { notes, asking: ada }), "before refused after");
  });

  it("ends with the membership: the person is told, can write no more, and keeps what was not sent", async () => {
    const { adaSeat, boSeat, ada: asking, bo, project, notes } = await sitTogether(house, server);
    await tryToType(boSeat.page, "before ");
    await untilBadge(boSeat.page, "saved");
    boSeat.wire.silence();
    await toEnd(boSeat.page);
    await boSeat.page.keyboard.type("unsent");
    assert.equal((await untilBadge(boSeat.page, "pending")).unsaved, "unsent".length);

    const members = await adaSeat.openTab();
    await members.goto(`/projects/${project.id}`);
    await members.locator(`[data-user="${bo.user.id}"]`).getByTestId("remove-member").click();
    await members.getByTestId("confirm-action").click();
    await until(async () => assert.equal(await members.getByTestId("member").count(), 1));
    boSeat.expectError(/WebSocket connection to .* failed|status of 40[34]/);
    boSeat.wire.heal();

    const badge = await untilBadge(boSeat.page, "readonly");
    assert.equal(badge.reason, "forbidden");
    assert.equal(badge.unsaved, "unsent".length);
    assert.match(badge.says, /你已不能访问这份笔记/);
    assert.equal(await editorOf(boSeat.page).getAttribute("contenteditable"), "false");
    await tryToType(boSeat.page, "after");
    assert.equal(await textOf(boSeat.page), "before unsent");
    await boSeat.page.getByTestId("stranded").waitFor();
    assert.equal(await asking.markdown(notes), "before ");

    await boSeat.page.goto("/");
    await boSeat.page.getByRole("heading", { level: 3, name: "还没有项目" }).waitFor();
  });

  it("ends with the session, in every tab, and leaves nothing on the device", async () => {
    const { adaSeat, boSeat, ada, bo, paper } = await sitTogether(house, server);
    await tryToType(adaSeat.page, "shared");
    await untilBadge(adaSeat.page, "saved");
    const otherTab = await adaSeat.openTab();
    await otherTab.goto(`/papers/${paper.id}`);
    await untilBadge(otherTab, "saved");
    assert.equal((await databases(adaSeat.page)).length, 1);
    await until(async () => assert.equal((await databases(boSeat.page)).length, 1));

    adaSeat.expectError(SESSION_ENDED);
    await adaSeat.page.getByTestId("account-menu-button").click();
    await adaSeat.page.getByTestId("log-out").click();
    for (const page of [adaSeat.page, otherTab]) await page.getByTestId("submit-login").waitFor();
    await until(async () => assert.deepEqual(await databases(adaSeat.page), []));
    assert.deepEqual(
      (await adaSeat.page.evaluate<string[]>("Object.keys(localStorage)")).filter(
        (key) => !/theme|locale/.test(key),
      ),
      [],
    );
    // The next person at this computer sees nothing of hers, and Bo's own work is untouched.
    assert.equal((await badgeOf(boSeat.page)).state, "saved");
    await fillIn(adaSeat.page, "login", bo.user.username);
    await until(async () => assert.equal(await textOf(adaSeat.page), "shared"));
    void ada;
  });

  it("ends when the session is ended elsewhere", async () => {
    const { adaSeat, ada } = await sitTogether(house, server);
    adaSeat.expectError(SESSION_ENDED);
    const elsewhere = await server.login(ada.user.username);
    const { items } = await elsewhere.call<{ items: { id: string; current: boolean }[] }>(
      "GET",
      "/auth/sessions",
    );
    for (const session of items.filter(({ current }) => !current)) {
      await elsewhere.call("DELETE", `/auth/sessions/${session.id}`);
    }
    await adaSeat.page.getByTestId("submit-login").waitFor();
  });
});
