import { startServer, type Person, type TestServer } from "@scriptorium/server/testing";
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { WebSocket } from "ws";

/** Real sockets: what compose wires between accounts, projects and documents. */
describe("document sockets", { timeout: 30_000 }, () => {
  let server: TestServer;
  let owner: Person;
  let editor: Person;
  let projectId: string;
  let notes: string;
  before(async () => {
    server = await startServer();
    owner = await server.register();
    editor = await server.register();
    projectId = (await owner.createProject()).id;
    notes = `notes:${(await owner.createPaper(projectId)).id}`;
    await owner.addMember(projectId, editor.user.id, "editor");
  });
  after(() => server.stop());

  const open = (token: string, options: { origin?: string; path?: string } = {}) => {
    const { path = `/yjs/${notes}`, ...rest } = options;
    return new WebSocket(`${server.wsUrl}${path}?token=${token}`, rest);
  };
  /** Resolves with the close code, however the socket ends. */
  const closed = async (socket: WebSocket): Promise<number> => Number((await once(socket, "close"))[0]);
  const opened = async (socket: WebSocket): Promise<WebSocket> => {
    const first = once(socket, "message");
    // Sync step 1 with an empty state vector, as y-websocket begins.
    socket.once("open", () => socket.send(Uint8Array.of(0, 0, 1, 0)));
    const early = closed(socket).then((code) => Promise.reject(new Error(`closed with ${code}`)));
    await Promise.race([first, early]);
    early.catch(() => undefined);
    return socket;
  };
  /** The HTTP status of a refused upgrade. */
  const refused = async (socket: WebSocket): Promise<number> => {
    const [, response] = await once(socket, "unexpected-response");
    socket.on("error", () => undefined);
    socket.terminate();
    return response.statusCode;
  };

  it("open with a ticket, once", async () => {
    const ticket = await editor.ticket();
    const socket = await opened(open(ticket));
    assert.equal(await closed(open(ticket)), 4401);
    socket.terminate();
  });

  it("open with an access token and refuse a forged one", async () => {
    (await opened(open(editor.accessToken))).terminate();
    assert.equal(await closed(open("tk_forged")), 4401);
    assert.equal(await closed(open(`${editor.accessToken}x`)), 4401);
  });

  it("are closed within a second when the session ends", async () => {
    const phone = await server.login(editor.user.username);
    const socket = await opened(open(await phone.ticket()));
    const started = Date.now();
    const code = closed(socket);
    await phone.logout();
    assert.equal(await code, 4401);
    assert.ok(Date.now() - started < 1_000);
  });

  it("refuse a ticket of a session that has ended", async () => {
    const phone = await server.login(editor.user.username);
    const ticket = await phone.ticket();
    await phone.logout();
    assert.equal(await closed(open(ticket)), 4401);
  });

  it("are closed when the person is removed from the project", async () => {
    const guest = await server.register();
    await owner.addMember(projectId, guest.user.id, "viewer");
    const socket = await opened(open(await guest.ticket()));
    const code = closed(socket);
    await owner.removeMember(projectId, guest.user.id);
    assert.equal(await code, 4403);
    assert.equal(await closed(open(await guest.ticket())), 4403);
  });

  it("are closed when the paper is deleted", async () => {
    const paper = await owner.createPaper(projectId);
    const socket = await opened(open(await owner.ticket(), { path: `/yjs/notes:${paper.id}` }));
    const code = closed(socket);
    await owner.call("DELETE", `/papers/${paper.id}`);
    assert.equal(await code, 4404);
  });

  it("do not open from foreign pages, and nowhere else than at their paths", async () => {
    const ticket = await owner.ticket();
    assert.equal(await refused(open(ticket, { origin: "https://evil.example" })), 403);
    (await opened(open(ticket, { origin: server.url }))).terminate();
    assert.equal(await refused(open(ticket, { path: "/elsewhere" })), 404);
    assert.equal(await refused(open(ticket, { path: "//" })), 404);
  });

  it("leave the server alive when the request is no HTTP at all", async () => {
    const socket = connect(server.port, "127.0.0.1");
    socket.write("\u0000\u0001 nonsense\r\n\r\n");
    const [data] = await once(socket, "data");
    assert.match(String(data), /^HTTP\/1\.1 400 .*"code":"bad_request"/s);
    socket.destroy();
    assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  });
});

describe("roles of a process", { timeout: 30_000 }, () => {
  it("without collab have no sockets, without api no REST, but health in any case", async (t) => {
    const api = await startServer({ env: { ROLES: "api" } });
    t.after(() => api.stop());
    const socket = new WebSocket(`${api.wsUrl}/collab`);
    const [, response] = await once(socket, "unexpected-response");
    assert.equal(response.statusCode, 404);
    socket.on("error", () => undefined);
    socket.terminate();
    const collab = await startServer({ env: { ROLES: "collab" } });
    t.after(() => collab.stop());
    const status = async (path: string) => (await fetch(collab.url + path)).status;
    assert.deepEqual(
      [await status("/api/v1/users/me"), await status("/"), await status("/healthz")],
      [404, 404, 200],
    );
  });
});
