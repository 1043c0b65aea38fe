import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { openWire, type Wire } from "./browser-wire.ts";

/** Real Chromium, one context per person, and an eye on everything that a page must not do. */

const CHROMIUM = "/usr/bin/chromium";
/** For `{ skip }`. */
export const noBrowser = existsSync(CHROMIUM)
  ? false
  : `${CHROMIUM} is missing (scripts/provision.sh installs it)`;

const BUILD = fileURLToPath(new URL("../../../scripts/build-web.ts", import.meta.url));
/** A loaded machine is ten times slower than a quiet one. */
const PATIENCE_MS = 30_000;
const POLL_MS = 40;

export interface Look {
  readonly locale: "en-US" | "zh-CN";
  readonly colorScheme: "light" | "dark";
}

/** Somebody at a computer: a browser profile of their own, and a cable of their own. */
export interface Seat {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly wire: Wire;
  /** Another tab of the same person. */
  openTab(): Promise<Page>;
  /** From now on a console error like this is what the test is about. */
  expectError(pattern: RegExp): void;
  /** What its pages did that they must not: errors, requests to other hosts, refused or failed requests. */
  readonly problems: readonly string[];
  /** Forgets them: they were what the test is about. */
  forgive(): void;
}

export interface House {
  seat(serverPort: number, look?: Partial<Look>): Promise<Seat>;
  /** For afterEach: everybody leaves; throws when a page did what it must not. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** Builds the client if it is not what its sources say, and starts a browser. */
export async function openHouse(): Promise<House> {
  await promisify(execFile)(process.execPath, [BUILD]);
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--disable-dev-shm-usage",
    ],
  });
  const seats: Seat[] = [];
  const clear = async (): Promise<void> => {
    const leaving = seats.splice(0);
    const problems = leaving.flatMap((seat) => seat.problems);
    await Promise.all(leaving.map((seat) => seat.context.close()));
    await Promise.all(leaving.map((seat) => seat.wire.close()));
    assert.deepEqual(problems, [], "pages did what they must not");
  };
  return {
    seat: async (serverPort, look = {}) => {
      const wire = await openWire(serverPort);
      const seat = await takeSeat(browser, wire, { locale: "en-US", colorScheme: "light", ...look });
      seats.push(seat);
      return seat;
    },
    clear,
    close: () => browser.close(),
  };
}

async function takeSeat(browser: Browser, wire: Wire, look: Look): Promise<Seat> {
  const context = await browser.newContext({
    baseURL: wire.url,
    viewport: { width: 1280, height: 800 },
    reducedMotion: "reduce",
    ...look,
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const problems: string[] = [];
  const expected: RegExp[] = [];
  const report = (what: string): void => {
    if (!expected.some((pattern) => pattern.test(what))) problems.push(what);
  };
  await context.route(isForeign, (route) => {
    report(`a request left the machine: ${route.request().url()}`);
    return route.abort();
  });
  await context.addInitScript(
    `addEventListener("securitypolicyviolation", (event) => console.error("CSP: " + event.violatedDirective + " " + event.blockedURI))`,
  );
  context.on("page", (page) => watch(page, report));
  return {
    context,
    wire,
    page: await context.newPage(),
    openTab: () => context.newPage(),
    expectError: (pattern) => {
      expected.push(pattern);
    },
    problems,
    forgive: () => {
      problems.length = 0;
    },
  };
}

function isForeign(url: URL): boolean {
  return /^(https?|wss?):$/.test(url.protocol) && url.hostname !== "127.0.0.1";
}

function watch(page: Page, report: (what: string) => void): void {
  page.on("pageerror", (error) => report(`an error in the page: ${error.stack ?? error.message}`));
  page.on("crash", () => report("the page crashed"));
  page.on("console", (message) => {
    if (message.type() === "error") report(`console: ${message.text()} (${message.location().url})`);
  });
  page.on("websocket", (socket) => {
    if (isForeign(new URL(socket.url()))) report(`a socket left the machine: ${socket.url()}`);
  });
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText ?? "";
    // The page itself gives up what it no longer needs when somebody leaves it.
    if (why !== "net::ERR_ABORTED") report(`${request.method()} ${request.url()} failed: ${why}`);
  });
}

/** Asks again and again until `check` stops throwing, and throws its last complaint when patience ends. */
export async function until<T>(check: () => T | Promise<T>, patienceMs = PATIENCE_MS): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
