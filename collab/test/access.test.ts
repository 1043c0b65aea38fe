import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Failure } from "@scriptorium/shared";
import { WebSocket } from "ws";
import { HocuspocusProvider } from "@hocuspocus/provider";
import { notesName, People, saved, until } from "./support/harness.ts";
import { statuses, step1, update } from "./support/raw-client.ts";
import { openStage, readOnlyReason, textUpdate, type, type Stage } from "./support/stage.ts";
import { authTokenMessage } from "../src/wire.ts";

/** Access that answers only when it is told to. */
class SlowPeople extends People {
  readonly #waiting: (() => void)[] = [];
  slow = false;

  override async identify(token: string): ReturnType<People["identify"]> {
    const identity = await super.identify(token);
    if (this.slow) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return identity;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  answer(): void {
    this.slow = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function loggedCodes(stage: Stage): unknown[] {
  return stage.harness.logged.map(({ fields }) => Reflect.get(fields, "code"));
}

describe("who gets in", () => {
  it("[AC1] nobody without a token that Access accepts and a permission that it gives", async (t) => {
    const stage = await openStage(t);
    const { people, collab } = stage.harness;
    people.permissions.set(`eve ${stage.name}`, "none");
    people.revoked.add("gone");
    const cases = [
      ["", "unauthenticated", 4401],
      ["!forged", "unauthenticated", 4401],
      ["ada/gone", "session_revoked", 4401],
      ["eve", "forbidden", 4403],
    ] as const;
    for (const [token, reason, code] of cases) {
      const client = stage.provider(token);
      const bare = stage.yjs(token);
      await until(() => client.denials.length > 0 && bare.closes.length > 0, `${token} is denied`);
      assert.deepEqual([client.denials[0], bare.closes[0]], [reason, code]);
      assert.deepEqual([client.provider.isSynced, bare.provider.synced], [false, false]);
      client.destroy();
      bare.destroy();
    }
    // Without any authentication: what is sent is never applied.
    const raw = await stage.socket("/collab");
    raw.send(step1(stage.name), update(stage.name, textUpdate("forged")));
    const ada = stage.provider("ada");
    await saved(ada);
    assert.equal(ada.text.toJSON(), "");
    assert.equal(raw.messages.length, 0);
    assert.equal(collab.stats().documents, 1);
  });

  it("[AC1] a second person cannot open documents on another person's socket", async (t) => {
    const stage = await openStage(t);
    const raw = await stage.rawCollab("ada");
    const before = raw.messages.length;
    const other = notesName();
    raw.send(authTokenMessage(other, "bo"), step1(other));
    await until(() => raw.messages.length > before, "an answer");
    assert.ok(Buffer.from(raw.messages[before] ?? []).includes("forbidden"));
    assert.equal(stage.harness.collab.stats().documents, 1);
  });

  it("[AC6] an Origin that is not allowed gets 403 before any WebSocket exists", async (t) => {
    const allowOrigin = (origin: string | undefined): boolean =>
      origin === undefined || origin === "https://good";
    const stage = await openStage(t, { allowOrigin });
    const answer = (path: string, origin: string): Promise<number | undefined> =>
      new Promise((resolve) => {
        const ws = new WebSocket(`${stage.harness.url}${path}`, { origin });
        ws.on("open", () => {
          resolve(101);
          ws.terminate();
        });
        ws.on("unexpected-response", (request, response) => {
          resolve(response.statusCode);
          request.destroy();
        });
        ws.on("error", () => undefined);
      });
    for (const path of ["/collab", `/yjs/${stage.name}?token=ada`]) {
      assert.equal(await answer(path, "https://evil"), 403);
      assert.equal(await answer(path, "https://good"), 101);
    }
  });

  it("[AC7] when Access fails the client is told to try later, and gets in once it answers", async (t) => {
    const stage = await openStage(t);
    stage.harness.people.broken = new Error("the database is down");
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await until(() => ada.closes.length > 1 && bo.closes.length > 1, "both are sent away");
    assert.deepEqual([...new Set([...ada.closes, ...bo.closes])], [1013]);
    assert.deepEqual(ada.denials, []);
    stage.harness.people.broken = undefined;
    await saved(ada);
    await until(() => bo.provider.synced, "bo is in");
  });

  it("[AC7] when Access takes too long the client is told to try later, not to sign in", async (t) => {
    const people = new SlowPeople();
    const stage = await openStage(t, { people, limits: { authenticateMs: 200 } });
    people.slow = true;
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    await until(() => ada.closes.length > 0 && bo.closes.length > 0, "both are sent away");
    assert.deepEqual([ada.closes[0], bo.closes[0]], [1013, 1013]);
    people.answer();
    await saved(ada);
    await until(() => bo.provider.synced, "bo is in");
    assert.deepEqual(ada.denials, []);
  });
});

/** What Access knew when it was asked, told when the test lets it. */
class LatePeople extends People {
  late: Promise<void> = Promise.resolve();
  asked = 0;

  override async permission(...question: Parameters<People["permission"]>): ReturnType<People["permission"]> {
    const { late } = this;
    this.asked += 1;
    const answer = await super.permission(...question);
    await late;
    return answer;
  }
}

describe("readers", () => {
  it("[AC2] a reader's update is refused with status 0, or close 4403, and changes nothing", async (t) => {
    const stage = await openStage(t);
    stage.harness.people.permissions.set(`eve ${stage.name}`, "read");
    const ada = stage.provider("ada");
    await type(ada, ["words"]);
    await saved(ada);
    const eve = stage.provider("eve");
    await until(() => eve.text.toJSON() === "words", "eve reads");
    assert.equal(eve.provider.authorizedScope, "readonly");
    await until(() => readOnlyReason(eve) === "role", "eve is told why");
    const [raw, bare] = [await stage.rawCollab("eve"), await stage.rawYjs("eve")];
    raw.send(update(stage.name, textUpdate("forged")));
    await until(() => statuses(raw, stage.name).length === 1, "an answer");
    assert.deepEqual(statuses(raw, stage.name), [false]);
    assert.equal(raw.closed, undefined);
    bare.send(update(undefined, textUpdate("forged")));
    await until(() => bare.closed !== undefined, "closed");
    assert.equal(bare.closed?.code, 4403);
    await type(eve, ["!"]);
    await type(ada, [" more"]);
    await saved(ada);
    await until(() => eve.text.length === 11, "eve still reads");
    assert.equal(ada.text.toJSON(), "words more");
    assert.equal(await stage.freshText(), "words more");
  });

  it("[AC2] a reader that has nothing to say is served and acknowledged in both dialects", async (t) => {
    const stage = await openStage(t);
    stage.harness.people.permissions.set(`eve ${stage.name}`, "read");
    const ada = stage.provider("ada");
    await type(ada, ["words"]);
    await saved(ada);
    const eve = stage.provider("eve");
    await saved(eve);
    const bare = stage.yjs("eve");
    await until(() => bare.text.toJSON() === "words", "eve reads");
    // A reload with everything in hand answers sync step 1 with what is known already.
    const again = stage.yjs("eve", { doc: bare.doc });
    await until(() => again.provider.synced, "synced");
    await type(ada, ["!"]);
    await until(() => again.text.toJSON() === "words!" && eve.text.toJSON() === "words!", "eve follows");
    assert.deepEqual([...bare.closes, ...again.closes, ...eve.closes], []);
  });

  it("[AC3] a role change acts on the open socket, in both directions", async (t) => {
    const stage = await openStage(t);
    const { people, collab } = stage.harness;
    const ada = stage.provider("ada");
    const bo = stage.provider("bo");
    const bare = stage.yjs("bo");
    await type(bo, ["before "]);
    await saved(bo);
    await saved(ada);
    await until(() => bare.provider.synced, "synced");
    people.permissions.set(`bo ${stage.name}`, "read");
    await collab.recheckUser("bo");
    await until(() => readOnlyReason(bo) === "role", "bo is told");
    assert.equal(bo.provider.authorizedScope, "readonly");
    await type(bo, ["as reader "]);
    await type(ada, ["ada "]);
    await until(() => bo.text.toJSON().includes("ada "), "bo still reads");
    assert.equal(ada.text.toJSON().includes("as reader"), false);
    people.permissions.set(`bo ${stage.name}`, "write");
    await collab.recheckUser("bo");
    await until(() => readOnlyReason(bo) === null, "bo is told");
    // What was refused meanwhile was not thrown away by the client, and is asked for.
    await saved(bo);
    await until(() => ada.text.toJSON() === bo.text.toJSON(), "equal texts");
    assert.equal(bo.provider.unsyncedChanges, 0);
    assert.deepEqual([...bo.closes, ...ada.closes, ...bare.closes], []);
    assert.equal(await stage.freshText(), ada.text.toJSON());
  });

  it("[AC3] a role change that comes while the document is being opened is not missed", async (t) => {
    const stage = await openStage(t);
    const { people, collab } = stage.harness;
    stage.faulty.inject({ kind: "stall" }, ["readRows"]);
    const bo = stage.provider("bo");
    const eve = stage.provider("eve");
    const dora = stage.provider("dora/doras");
    await until(() => stage.faulty.stalled === 1, "the document is being loaded");
    await until(() => collab.stats().sockets === 3, "all are waiting");
    people.permissions.set(`bo ${stage.name}`, "read");
    people.permissions.set(`eve ${stage.name}`, "none");
    people.revoked.add("doras");
    await collab.recheckUser("bo");
    await collab.recheckUser("eve");
    collab.revokeSession("doras");
    stage.faulty.heal();
    await until(() => readOnlyReason(bo) === "role", "bo is a reader");
    await until(() => eve.closes.includes(4403) || eve.denials.length > 0, "eve is out");
    await until(() => dora.closes.includes(4401) || dora.denials.length > 0, "dora is out");
  });
});

describe("a review of everybody", () => {
  it("[AC3] that is answered late takes nothing back that was answered since", async (t) => {
    const people = new LatePeople();
    const stage = await openStage(t, { people });
    const { collab } = stage.harness;
    const bo = stage.provider("bo");
    await saved(bo);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    people.late = promise.then(() => undefined);
    const { asked } = people;
    const review = collab.reviewAll();
    await until(() => people.asked > asked, "the review has asked");
    people.late = Promise.resolve();
    people.permissions.set(`bo ${stage.name}`, "read");
    await collab.recheckUser("bo");
    await until(() => readOnlyReason(bo) === "role", "bo is a reader");
    resolve(undefined);
    await review;
    // What bo hears of ada comes after whatever the review may have said to him.
    const ada = stage.provider("ada");
    await type(ada, ["later"]);
    await until(() => bo.text.toJSON() === "later", "bo reads on");
    assert.equal(readOnlyReason(bo), "role");
  });

  it("[AC3] [AC4] acts on what nobody told of, and leaves alone whom Access cannot tell about now", async (t) => {
    const stage = await openStage(t);
    const { people, collab } = stage.harness;
    const [ada, bo, eve] = [stage.provider("ada"), stage.provider("bo"), stage.yjs("eve")];
    await Promise.all([saved(ada), saved(bo)]);
    await until(() => eve.provider.synced, "all are in");
    people.permissions.set(`bo ${stage.name}`, "read");
    people.permissions.set(`eve ${stage.name}`, "none");
    people.broken = new Failure("try_later");
    await collab.reviewAll();
    await type(bo, ["still here"]);
    await saved(bo);
    assert.deepEqual([...ada.closes, ...bo.closes, ...eve.closes], []);
    people.broken = undefined;
    await collab.reviewAll();
    await until(() => readOnlyReason(bo) === "role", "bo is a reader now");
    await until(() => eve.closes.includes(4403), "eve is out");
    assert.deepEqual(ada.closes, []);
  });

  it("[AC7] after events were missed, sends whoever cannot be asked about away to try later", async (t) => {
    const stage = await openStage(t);
    const { people, collab } = stage.harness;
    const eve = stage.yjs("eve");
    await until(() => eve.provider.synced, "eve is in");
    people.broken = new Failure("try_later");
    await collab.recheckAll();
    await until(() => eve.closes.length > 0, "she is sent away");
    assert.equal(eve.closes[0], 1013);
  });
});

describe("the end of a permission", () => {
  it("[AC4] removal closes the person's sockets with 4403, and the end of a session its own with 4401", async (t) => {
    const stage = await openStage(t);
    const { people, collab } = stage.harness;
    const ada = stage.provider("ada");
    const first = stage.provider("bo/laptop");
    const second = stage.yjs("bo/phone");
    const eve = stage.yjs("eve");
    await saved(ada);
    await saved(first);
    await until(() => second.provider.synced && eve.provider.synced, "all are in");
    people.revoked.add("laptop");
    collab.revokeSession("laptop");
    await until(() => first.closes.length > 0, "the laptop is out");
    assert.equal(first.closes[0], 4401);
    assert.deepEqual(second.closes, []);
    people.permissions.set(`bo ${stage.name}`, "none");
    people.permissions.set(`eve ${stage.name}`, "none");
    await collab.recheckUser("bo");
    await collab.recheckUser("eve");
    await until(() => second.closes.length > 0 && eve.closes.length > 0, "both are out");
    assert.deepEqual([second.closes[0], eve.closes[0]], [4403, 4403]);
    assert.deepEqual(ada.closes, []);
    await type(ada, ["alone"]);
    await saved(ada);
    await until(() => first.denials.length > 0, "the laptop does not get in again");
  });

  it("[AC5] a socket closes with 4401 when its token expires", async (t) => {
    const stage = await openStage(t);
    const { people } = stage.harness;
    people.expiresAt.set("ada", Date.now() + 300);
    people.expiresAt.set("bo", Date.now() + 300);
    const ada = stage.provider("ada");
    const bo = stage.yjs("bo");
    const carl = stage.provider("carl");
    await until(() => ada.closes.length > 0 && bo.closes.length > 0, "both expire");
    assert.deepEqual([ada.closes[0], bo.closes[0]], [4401, 4401]);
    assert.deepEqual(carl.closes, []);
    assert.ok(loggedCodes(stage).includes("token_expired"));
  });

  it("[AC5] a client that shows a newer token of the same person when it is asked stays", async (t) => {
    const stage = await openStage(t);
    const { people } = stage.harness;
    people.expiresAt.set("ada/old", Date.now() + 1_200);
    let shown = 0;
    const ada = stage.provider("", { token: () => ((shown += 1) === 1 ? "ada/old" : "ada/new") });
    const bo = stage.provider("bo");
    await saved(ada);
    await until(() => shown >= 2, "asked for a newer token");
    await until(() => Date.now() > (people.expiresAt.get("ada/old") ?? 0) + 700, "the old one has expired");
    await type(ada, ["still here"]);
    await saved(ada);
    await until(() => bo.text.toJSON() === "still here", "bo sees it");
    assert.deepEqual(ada.closes, []);
    // The session of the newer token is the one that counts.
    people.revoked.add("new");
    stage.harness.collab.revokeSession("new");
    await until(() => ada.closes.length > 0, "closed");
    assert.equal(ada.closes[0], 4401);
  });

  it("[AC5] a newer token of another person, or none that is good, does not help", async (t) => {
    const stage = await openStage(t);
    const [thief, forger] = [await stage.rawCollab("ada"), await stage.rawCollab("ada")];
    thief.send(authTokenMessage(stage.name, "bo"));
    forger.send(authTokenMessage(stage.name, "!forged"));
    await until(() => thief.closed !== undefined && forger.closed !== undefined, "closed");
    assert.deepEqual([thief.closed?.code, forger.closed?.code], [4403, 4401]);
  });

  it("[AC5] opening another document with an older token does not shorten the stay", async (t) => {
    const stage = await openStage(t);
    stage.harness.people.expiresAt.set("ada/old", Date.now() + 400);
    const ada = stage.provider("ada");
    await saved(ada);
    const other = new HocuspocusProvider({
      websocketProvider: ada.socket,
      name: notesName(),
      token: "ada/old",
    });
    other.attach();
    stage.after(() => other.destroy());
    await until(() => other.isSynced, "the other is open");
    const expired = (stage.harness.people.expiresAt.get("ada/old") ?? 0) + 1_100;
    await until(() => Date.now() > expired, "the older token has expired, and two sweeps have passed");
    assert.deepEqual(ada.closes, []);
  });
});
