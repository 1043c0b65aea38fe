import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { CollabNotice, Problem } from "@scriptorium/shared";
import { assertKept, converge } from "./support/audit.ts";
import type { Person } from "@scriptorium/server/testing";
import { openMongoWay, type MongoWay } from "./support/mongo-way.ts";
import { NO_MONGO, stopSharedMongo } from "./support/mongo.ts";
import { seeded } from "./support/random.ts";
import { openSite, until, type Site } from "./support/site.ts";
import { openCrowd, openHocuspocus, openYWebsocket, type Typist } from "./support/typists.ts";

const TYPE_MS = 100;
const GONE_MS = 30_000;
/** More than the room's storeGraceMs of 10 s, on a machine that has other things to do. */
const PATIENCE_MS = 60_000;
const STORE_IS_AWAY = "503 try_later: The store does not answer";
const ASK_MS = 300;
/** What a server of this kind may need more in an outage: buffers, queues, and what V8 does not collect at once. */
const GROWTH_MB = 150;
const KB = 1024;
const UNCOMMITTED_BYTES = 2048 * KB;
const FLOODERS = 6;
/** Three times what may be uncommitted, from all together. */
const PASTES = 24;
const PASTE_BYTES = 50 * KB;
const PASTE_MS = 20;

const promisedTo = (typists: readonly Typist[]): number =>
  typists.reduce((sum, { promised }) => sum + promised.length, 0);

/** Why its document is read-only for a client of the dialect that is told; null when it is not. */
function readOnly(typist: Typist): string | null | undefined {
  const notices = typist.notices.map((notice) => CollabNotice.parse(notice));
  return notices.findLast((notice) => notice.type === "state")?.readOnly;
}

const told = (typists: readonly Typist[]) => typists.filter(({ dialect }) => dialect === "hocuspocus");

async function readyz(site: Site): Promise<string> {
  const response = await fetch(`${site.server.url}/readyz`);
  if (response.ok) return "ready";
  const { code, detail } = Problem.parse(await response.json());
  return `${response.status} ${code}: ${detail}`;
}

/** One of the server's gauges, by the name that /metrics gives it. */
async function gauge(site: Site, name: string): Promise<number> {
  const text = await (await fetch(`${site.server.url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`scriptorium_${name} `));
  assert.ok(line !== undefined, `there is no gauge ${name}`);
  return Number(line.split(" ")[1]);
}

/** Memory of the server process that is in RAM. */
async function residentMb({ server }: Site): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

type Request = readonly [method: string, path: string, body?: object];

/** "done", the code of an orderly 503, or all of what was said instead. */
async function askOnce(site: Site, [method, path, body]: Request): Promise<string> {
  const headers = { authorization: `Bearer ${site.owner.accessToken}` };
  const init =
    body === undefined
      ? { method, headers }
      : { method, headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`${site.server.url}/api/v1${path}`, init);
  const text = await response.text();
  if (response.ok) return "done";
  const wrong = `${method} ${path}: ${response.status} ${text}`;
  if (response.status !== 503 || !response.headers.has("retry-after")) return wrong;
  if (response.headers.get("content-type") !== "application/problem+json") return wrong;
  return Problem.parse(JSON.parse(text)).code;
}

/** What REST answers to somebody who is signed in and has a right to all of it, asked again and again. */
function askOnAndOn(site: Site, visitor: Person) {
  const requests: Request[] = [
    ["GET", "/projects"],
    ["GET", "/users/me"],
    ["GET", "/auth/sessions"],
    ["POST", "/projects", { name: "Meanwhile" }],
    ["POST", "/auth/tickets"],
    // Not as the owner, whose oldest session would have to make room at some time.
    ["POST", "/auth/login", { username: visitor.user.username, password: visitor.password }],
  ];
  const answers = new Map<string, number>();
  const ending = new AbortController();
  const asking = requests.map(async (request) => {
    for (; !ending.signal.aborted; await delay(ASK_MS)) {
      const answer = await askOnce(site, request);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  });
  return {
    answers,
    async stop() {
      ending.abort();
      await Promise.all(asking);
    },
  };
}

interface Scene {
  readonly site: Site;
  readonly way: MongoWay;
  /** Somebody else, signed in as well. */
  readonly visitor: Person;
  readonly document: string;
  /** The notes of a paper that nobody has open. */
  readonly unopened: string;
  readonly typists: readonly Typist[];
}

async function openScene(t: TestContext): Promise<Scene> {
  const way = await openMongoWay();
  t.after(way.close);
  const site = await openSite(t, { env: { MONGODB_URL: way.url } });
  const project = await site.owner.createProject();
  const [document, unopened] = [await site.notes(project.id), await site.notes(project.id)];
  const typists = openCrowd(site, { document, random: seeded(7), yWebsocket: 2 });
  await until(() => typists.every(({ settled }) => settled), "everybody is in");
  return { site, way, visitor: await site.register(), document, unopened, typists };
}

/** Clients of both dialects that come during the outage, to a document that is open and to one that is not. */
function openNewcomers({ site, document, unopened }: Scene): Typist[] {
  const as = (name: string, of: string) => ({
    name,
    wsUrl: site.proxy.wsUrl,
    document: of,
    token: site.owner.accessToken,
    random: seeded(0),
  });
  const newcomers = [
    openHocuspocus(as("late-1", document)),
    openHocuspocus(as("late-2", unopened)),
    openYWebsocket(as("late-3", unopened)),
  ];
  site.after(() => newcomers.forEach((each) => each.destroy()));
  return newcomers;
}

interface Outage {
  readonly name: string;
  readonly begin: () => void;
  readonly leastMs: number;
  /** Resolves when what is to happen meanwhile has happened. */
  readonly meanwhile: () => Promise<void>;
}

/** One outage, from the first letter typed before it to the last one saved after it. */
async function sufferOutage(
  t: TestContext,
  scene: Scene,
  { name, begin, leastMs, meanwhile }: Outage,
): Promise<void> {
  const { site, way, visitor, typists } = scene;
  for (const typist of typists) typist.startTyping(TYPE_MS);
  const before = promisedTo(typists);
  await until(() => promisedTo(typists) > before + 10, "acknowledgements come");
  const rest = askOnAndOn(site, visitor);
  await until(() => rest.answers.has("done"), "REST answers");

  begin();
  const begun = performance.now();
  await until(async () => (await readyz(site)) === STORE_IS_AWAY, "the server is not ready", PATIENCE_MS);
  const promised = promisedTo(typists);
  const newcomers = openNewcomers(scene);
  const refresh = await askOnce(site, ["POST", "/auth/refresh", { refreshToken: visitor.refreshToken }]);
  assert.equal(refresh, "try_later");
  await until(
    () => newcomers.every(({ closes }) => closes.length > 1),
    "newcomers are sent away",
    PATIENCE_MS,
  );
  await meanwhile();
  await delay(Math.max(0, begun + leastMs - performance.now()));
  assert.equal(promisedTo(typists), promised, "nothing was acknowledged meanwhile");
  assertHeld(typists, newcomers);
  assert.equal(await readyz(site), STORE_IS_AWAY);
  assert.equal((await fetch(`${site.server.url}/healthz`)).status, 200);

  way.heal();
  const healed = performance.now();
  await until(() => promisedTo(typists) > promised, "acknowledgements come again");
  t.diagnostic(
    `${name}: first acknowledgement ${(performance.now() - healed).toFixed(0)} ms after it was back`,
  );
  await rest.stop();
  assert.deepEqual(new Set(rest.answers.keys()), new Set(["done", "try_later"]), "REST says nothing else");
  await until(async () => (await readyz(site)) === "ready", "the server is ready again");
  await until(() => newcomers.every(({ settled }) => settled), "newcomers are let in");
  for (const newcomer of newcomers) newcomer.destroy();
  await visitor.refresh();
  await converge(site, typists);
}

/** Whoever was there stays, with changes that are not saved yet; whoever comes is asked to try later. */
function assertHeld(typists: readonly Typist[], newcomers: readonly Typist[]): void {
  assert.ok(
    told(typists).every(({ settled }) => !settled),
    "their changes count as not saved",
  );
  assert.ok(
    typists.every(({ connected, closes }) => connected && closes.length === 0),
    "nobody was thrown out",
  );
  assert.deepEqual(new Set(newcomers.flatMap(({ closes }) => closes)), new Set([1013]));
  assert.ok(
    newcomers.every(({ text }) => text.length === 0),
    "they are not shown an empty document as if it were whole",
  );
}

/** Pastes into a document of its own, whatever it is told, until all is in its replica. */
async function flood(typist: Typist): Promise<void> {
  for (let paste = 0; paste < PASTES; paste += 1) {
    typist.text.insert(typist.text.length, `<${paste}>`.padEnd(PASTE_BYTES, typist.name));
    await delay(PASTE_MS);
  }
}

/** The highest of what is measured until the condition holds, and a while after. */
async function highest(measure: () => Promise<number>, condition: () => boolean): Promise<number> {
  let most = 0;
  const look = async () => {
    most = Math.max(most, await measure());
  };
  await until(
    async () => {
      await look();
      return condition();
    },
    "they are told why nothing more is taken",
    PATIENCE_MS,
  );
  for (let more = 0; more < 10; more += 1) {
    await delay(PASTE_MS);
    await look();
  }
  return most;
}

describe("a node whose MongoDB goes away", { skip: NO_MONGO, concurrency: true }, () => {
  after(stopSharedMongo);

  it("[SH1] [SH2] [SH3] holds acknowledgements through silence and 30 s of absence, and recovers by itself", async (t) => {
    const scene = await openScene(t);
    const { site, way, document, typists } = scene;
    const writers = told(typists);
    await sufferOutage(t, scene, {
      name: "silent",
      begin: way.hold,
      leastMs: 0,
      meanwhile: async () => undefined,
    });
    const resident = await residentMb(site);
    await sufferOutage(t, scene, {
      name: "gone",
      begin: way.cut,
      leastMs: GONE_MS,
      meanwhile: async () => {
        const reasons = () => writers.map((typist) => readOnly(typist));
        await until(
          () => reasons().every((reason) => reason === "store"),
          "writers are told why",
          PATIENCE_MS,
        );
      },
    });
    assert.ok(
      writers.every((typist) => readOnly(typist) === null),
      "documents are writable again",
    );
    const grown = (await residentMb(site)) - resident;
    assert.ok(grown < GROWTH_MB, `memory has grown by ${grown} MB`);

    await site.server.kill("SIGKILL");
    site.proxy.shut();
    await site.start();
    const { acknowledged } = assertKept(await site.read(document), typists);
    site.letIn();
    await converge(site, typists);
    t.diagnostic(`${acknowledged} acknowledged words, each there once; ${grown.toFixed(0)} MB more memory`);
  });

  it("[SH2] [LM1] keeps a flood within its limits, and all of it that was accepted", async (t) => {
    const way = await openMongoWay();
    t.after(way.close);
    const env = {
      MONGODB_URL: way.url,
      COLLAB_UNCOMMITTED_BYTES: String(UNCOMMITTED_BYTES),
      COLLAB_DOCUMENT_BYTES: String(PASTES * PASTE_BYTES * 1.5),
    };
    const site = await openSite(t, { env });
    const project = await site.owner.createProject();
    const documents = await Promise.all(Array.from({ length: FLOODERS + 1 }, () => site.notes(project.id)));
    const random = seeded(1);
    const typists = documents.flatMap((document) =>
      openCrowd(site, { document, random, hocuspocus: 1, yWebsocket: 0 }),
    );
    const [hog, ...flooders] = typists;
    assert.ok(hog !== undefined);
    await until(() => typists.every(({ settled }) => settled), "everybody is in");
    const resident = await residentMb(site);

    way.cut();
    hog.text.insert(0, "too much".padEnd(PASTES * PASTE_BYTES * 2));
    await until(() => hog.closes.includes(4413), "a document that grows too large ends for its author");
    const flooding = flooders.map(flood);
    const most = await highest(
      () => gauge(site, "collab_uncommitted_bytes"),
      () => flooders.every((typist) => readOnly(typist) === "store"),
    );
    await Promise.all(flooding);
    // What comes in within one turn of the event loop is accepted together.
    assert.ok(most > UNCOMMITTED_BYTES / 2 && most < UNCOMMITTED_BYTES * 3, `${most} bytes were uncommitted`);
    assert.ok(flooders.every((typist) => readOnly(typist) === "store"));
    assert.ok(flooders.every(({ closes, settled }) => closes.length === 0 && !settled));
    const grown = (await residentMb(site)) - resident;
    assert.ok(grown < GROWTH_MB, `memory has grown by ${grown} MB`);

    way.heal();
    await until(() => flooders.every(({ settled }) => settled), "all of it is saved", PATIENCE_MS);
    for (const { document, text } of flooders) {
      assert.equal((await site.read(document)).getText("md").toJSON(), text.toJSON());
    }
    t.diagnostic(`${(most / KB).toFixed(0)} KB uncommitted at most; ${grown.toFixed(0)} MB more memory`);
  });
});
