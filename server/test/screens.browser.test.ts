import { spawnServer, type ServerProcess } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { Page } from "playwright-core";
import { assertAccessible, assertFitsNarrow } from "./support/browser-audit.ts";
import { noBrowser, openHouse, until, type House } from "./support/browser.ts";
import { caretsOf, editorOf, toEnd, untilBadge } from "./support/browser-notes.ts";
import { ADA, BO, PASSWORD, makeTeam, signIn } from "./support/browser-people.ts";

/** Both languages and both themes; colours do not depend on the language, nor widths on the theme. */
const LOOKS = [ADA, BO];

const NOTES = `# Attention is all you need
A *transformer* with **no** recurrence, \`O(n²)\`; see [the paper](https://arxiv.org/abs/1706.03762) or ~~not~~.

> Scaled dot-product
- [ ] read section 3
1. 摘要`;

const FIELDS = {
  title: "Attention is all you need",
  authors: ["Vaswani, Ashish", "Shazeer, Noam"],
  tags: ["transformer", "必读"],
  abstract: "The dominant sequence transduction models…",
  publicationYear: 2017,
  event: "NeurIPS",
  doi: "10.48550/arXiv.1706.03762",
  url: "https://arxiv.org/abs/1706.03762",
};

/** Presses Tab until the element has the focus, as somebody without a mouse does. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate<boolean>(`document.activeElement.matches(${JSON.stringify(selector)})`)) return;
  }
  assert.fail(`Tab does not reach ${selector}`);
}

describe("every screen", { skip: noBrowser }, () => {
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

  const press = (page: Page, testId: string) => page.getByTestId(testId).first().click();
  const dialogGoes = async (page: Page): Promise<void> => {
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
  };

  for (const look of LOOKS) {
    it(`passes axe and fits 360 px (${look.locale}, ${look.colorScheme})`, async () => {
      const seat = await house.seat(server.port, look);
      const { page } = seat;
      const check = async (screen: string): Promise<void> => {
        await assertAccessible(page, screen);
        await assertFitsNarrow(page, screen);
      };

      await page.goto("/sign-in");
      await press(page, "submit-login");
      await check("sign in, with complaints");
      await press(page, "other-mode");
      await check("register");
      await page.getByTestId("username").fill(`Axe-${look.locale}-${look.colorScheme}`);
      await page.getByTestId("password").fill("short");
      await press(page, "submit-register");
      await check("register, with complaints");
      await page.getByTestId("password").fill(PASSWORD);
      await press(page, "submit-register");

      await page.locator(".empty").waitFor();
      await check("no projects");
      await press(page, "new-project");
      await press(page, "submit-project");
      await check("a new project, with complaints");
      await page.getByTestId("project-name").fill("阅读小组 <b>Reading</b>");
      await page.getByTestId("project-description").fill("A-description-without-a-space-".repeat(8));
      await press(page, "submit-project");
      await page.getByTestId("member").waitFor();
      await check("an empty project");
      for (const dialog of ["edit-project", "add-member", "new-paper", "leave-project", "delete-project"]) {
        await press(page, dialog);
        await page.getByRole("dialog").waitFor();
        await check(dialog);
        await dialogGoes(page);
      }
      await press(page, "account-menu-button");
      await check("the account menu");
      await press(page, "account-settings");
      await page.getByTestId("session").waitFor();
      await check("the account");
      await page.goto("/nowhere");
      await page.locator(".empty").waitFor();
      await check("nothing here");
    });

    it(`passes axe and fits 360 px with a paper and two people (${look.locale}, ${look.colorScheme})`, async () => {
      const { ada, bo, project, paper } = await makeTeam(server);
      await ada.call("PATCH", `/papers/${paper.id}`, FIELDS);
      const [{ page }, boSeat] = await Promise.all([
        house.seat(server.port, look),
        house.seat(server.port, look),
      ]);
      await Promise.all([signIn({ page }, ada), signIn(boSeat, bo, `/papers/${paper.id}`)]);
      const check = async (screen: string): Promise<void> => {
        await assertAccessible(page, screen);
        await assertFitsNarrow(page, screen);
      };
      await page.getByTestId("project-card").waitFor();
      await check("projects");
      await press(page, "project-card");
      await page.getByTestId("paper-row").waitFor();
      await until(async () => assert.equal(await page.getByTestId("member").count(), 2));
      await check("a project");
      await press(page, "remove-member");
      await check("remove a member");
      await dialogGoes(page);
      await press(page, "paper-row");
      await toEnd(page);
      await page.keyboard.insertText(NOTES);
      await toEnd(boSeat.page);
      await boSeat.page.keyboard.type("!");
      await until(async () => assert.equal((await caretsOf(page)).length, 1));
      await untilBadge(page, "saved");
      await check("a paper with a caret of somebody else");
      await page.keyboard.press("Control+f");
      await page.locator(".cm-search").waitFor();
      await check("search");
      await page.getByTestId("paper-doi").fill("no doi");
      await check("fields, with complaints");
      await page.getByTestId("paper-doi").fill(FIELDS.doi);

      await ada.setRole(project.id, bo.user.id, "viewer");
      await untilBadge(boSeat.page, "readonly");
      await assertAccessible(boSeat.page, "a paper, to read only");
      await assertFitsNarrow(boSeat.page, "a paper, to read only");
    });
  }

  it("is reached and used by keyboard alone, from signing in to typing notes", async () => {
    const { ada, project, paper, notes } = await makeTeam(server);
    const { page } = await house.seat(server.port);
    await page.goto("/");
    await page.locator("[data-testid=username]:focus").waitFor();
    await page.keyboard.type(ada.user.username);
    await tabTo(page, "[data-testid=password]");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    await page.locator(`[data-id="${project.id}"]`).waitFor();
    await tabTo(page, `[data-testid=project-card][data-id="${project.id}"]`);
    await page.keyboard.press("Enter");
    await page.locator(`[data-id="${paper.id}"]`).waitFor();
    await tabTo(page, `[data-testid=paper-row][data-id="${paper.id}"]`);
    await page.keyboard.press("Enter");
    await editorOf(page).waitFor();
    await tabTo(page, "[data-testid=editor]");
    await page.keyboard.type("without a mouse");
    await untilBadge(page, "saved");
    assert.equal(await ada.markdown(notes), "without a mouse");
    // The editor keeps nobody: Tab leads out of it.
    await tabTo(page, "[data-testid=paper-title]");
    // What opens by keyboard closes by keyboard, and the focus is where it was.
    await page.keyboard.press("Shift+Tab");
    await tabTo(page, "[data-testid=delete-paper]");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("[data-testid=delete-paper]:focus").waitFor();
  });

  it("follows the choice of theme and language, on this device, after a reload too", async () => {
    const { ada } = await makeTeam(server);
    const seat = await house.seat(server.port, ADA);
    const { page } = seat;
    await signIn(seat, ada);
    const look = () =>
      page.evaluate<unknown>(
        "[document.documentElement.lang, getComputedStyle(document.documentElement).colorScheme, document.title]",
      );
    assert.deepEqual(await look(), ["en", "light dark", "Projects · Scriptorium"]);
    await press(page, "account-menu-button");
    await page.getByTestId("theme").locator("[data-value=dark]").click();
    await page.getByTestId("language").locator("[data-value=zh]").click();
    await until(async () => assert.deepEqual(await look(), ["zh-CN", "dark", "项目 · Scriptorium"]));
    await page.reload();
    await page.getByTestId("account-menu-button").waitFor();
    assert.deepEqual(await look(), ["zh-CN", "dark", "项目 · Scriptorium"]);
  });

  it("is served under a policy that runs no inline script and reaches no other host", async () => {
    const seat = await house.seat(server.port);
    const { page } = seat;
    const response = await page.goto("/");
    const policy = new Map(
      (response?.headers()["content-security-policy"] ?? "")
        .split(";")
        .map((part) => part.trim().split(/\s+/))
        .map(([directive = "", ...sources]) => [directive, sources.join(" ")]),
    );
    for (const [directive, sources] of Object.entries({
      "default-src": "'self'",
      "script-src": "'self'",
      "object-src": "'none'",
      "base-uri": "'none'",
      "frame-ancestors": "'none'",
    })) {
      assert.equal(policy.get(directive), sources, directive);
    }
    assert.doesNotMatch(policy.get("connect-src") ?? "", /https?:|wss?:(\s|$)|\*/);
    // The policy bites, and these tests would notice.
    await page.evaluate(
      `(async () => {
        const script = document.createElement("script");
        script.textContent = "window.inlineRan = true";
        document.body.append(script);
        const image = document.body.appendChild(new Image());
        image.src = "https://example.com/pixel.png";
        await fetch("https://example.com/").catch(() => undefined);
        image.remove();
      })()`,
    );
    await until(() => {
      for (const directive of ["script-src-elem", "img-src", "connect-src"])
        assert.ok(
          seat.problems.some((problem) => problem.startsWith(`console: CSP: ${directive}`)),
          directive,
        );
    });
    assert.equal(await page.evaluate("window.inlineRan"), undefined);
    seat.forgive();
  });
});
