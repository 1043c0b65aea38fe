/**
 * Takes docs/screenshot.png: a paper whose notes two people write, as a third sees it. Starts a server with an empty data
 * directory of its own and Chromium; needs what scripts/provision.sh installs.
 */
import { spawnServer, type Client, type Person } from "@scriptorium/server/testing";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { chromium, type Browser, type Page } from "playwright-core";

const ROOT = path.dirname(import.meta.dirname);
const TARGET = path.join(ROOT, "docs/screenshot.png");
const CHROMIUM = "/usr/bin/chromium";
const SIZE = { width: 1440, height: 900 };

const PAPER = {
  title: "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks",
  authors: ["Lewis, Patrick", "Perez, Ethan", "Piktus, Aleksandra", "Petroni, Fabio"],
  abstract:
    "Combines a pre-trained sequence-to-sequence model with a dense index of Wikipedia that a neural retriever " +
    "searches, and compares two ways to marginalise over what was retrieved. Sets the state of the art on three " +
    "open-domain question answering tasks.",
  keywords: ["dense retrieval", "open-domain QA", "non-parametric memory"],
  tags: ["RAG", "week 47", "必读"],
  publicationYear: 2020,
  event: "NeurIPS",
  volume: "33",
  pages: "9459–9474",
  doi: "10.48550/arXiv.2005.11401",
  url: "https://arxiv.org/abs/2005.11401",
};

const NOTES = `# Reading notes
Can a generator **look things up** instead of memorising them?

## How it works
- *Retriever*: DPR, inner product search over 21M passages of Wikipedia
- *Generator*: BART-large, with each passage before the question
- \`RAG-Sequence\` keeps one passage for the answer, \`RAG-Token\` may change it

> The index can be replaced without training anything again.

## What we try
- [x] Ask without retrieval, for comparison
- [x] Reproduce Natural Questions: 44.1 EM
- [ ] Swap the index

## Open questions
- Does a larger index help, or only a better one?
- How often is the right passage found and then ignored?

中文问答：`;

/** Where the two write, and what. The line above is shorter, so that the name beside the caret hides nothing. */
const ADA_WRITES = { line: "Swap the index", text: " for our own 12,000 papers" };
const BO_WRITES = { line: "中文问答", text: "换成多语言编码器，比较召回率" };

/** A new account under this name, in this colour of the palette: colours follow from ids, so it takes a few. */
async function hire(client: Client, name: string, color: string): Promise<Person> {
  for (let tries = 0; tries < 200; tries += 1) {
    const person = await client.register();
    if (person.user.color !== color) continue;
    await person.call("PATCH", "/users/me", { displayName: name });
    return person;
  }
  throw new Error(`nobody gets the colour ${color}: is it still in the palette?`);
}

async function open(browser: Browser, person: Person, url: string): Promise<Page> {
  const page = await browser.newPage({
    viewport: SIZE,
    locale: "en-US",
    colorScheme: "light",
    reducedMotion: "reduce",
  });
  await page.goto(url);
  await page.getByTestId("username").fill(person.user.username);
  await page.getByTestId("password").fill(person.password);
  await page.getByTestId("submit-login").click();
  await page.locator("[data-testid=save-badge][data-state=saved]").waitFor();
  return page;
}

async function write(page: Page, { line, text }: { line: string; text: string }): Promise<void> {
  await page.locator(".cm-line", { hasText: line }).click();
  await page.keyboard.press("End");
  await page.keyboard.type(text);
}

async function take(browser: Browser, server: Client): Promise<void> {
  const mara = await hire(server, "Mara Lindqvist", "#0f766e");
  const ada = await hire(server, "Ada Okafor", "#c2410c");
  const bo = await hire(server, "李博", "#7c3aed");
  const project = await mara.createProject("Retrieval reading group");
  const paper = await mara.createPaper(project.id, PAPER.title);
  await mara.call("PATCH", `/papers/${paper.id}`, PAPER);
  for (const { user } of [ada, bo]) await mara.addMember(project.id, user.id, "editor");

  const url = `${server.url}/papers/${paper.id}`;
  const page = await open(browser, mara, url);
  await page.getByTestId("editor").focus();
  await page.keyboard.insertText(NOTES);
  await page.locator("[data-testid=save-badge][data-state=saved]").waitFor();
  await write(await open(browser, ada, url), ADA_WRITES);
  await write(await open(browser, bo, url), BO_WRITES);
  for (const { text } of [ADA_WRITES, BO_WRITES]) {
    await page.locator(".cm-line", { hasText: text }).locator(".remote-caret-name").waitFor();
  }
  await page.locator("h1").first().click();
  await page.screenshot({ path: TARGET });
}

execFileSync(process.execPath, [path.join(ROOT, "scripts/build-web.ts")], { stdio: "inherit" });
const server = await spawnServer();
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--font-render-hinting=none"],
});
try {
  await take(browser, server);
  console.log(`wrote ${path.relative(process.cwd(), TARGET)}`);
} finally {
  await browser.close();
  await server.kill("SIGTERM");
}
