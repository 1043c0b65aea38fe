import {
  Problem,
  type Member,
  type Page,
  type Paper,
  type Project,
  type ProjectRole,
  type TokenPair,
  type User,
} from "@scriptorium/shared";

/** A small typed REST client for tests and benchmarks of any room. */

const PASSWORD = "correct horse battery staple";

/** An answer that was not 2xx, with the problem document. */
export class RestError extends Error {
  override readonly name = "RestError";
  readonly problem: Problem;

  constructor(problem: Problem, request: string) {
    super(`${request} was answered ${problem.status} ${problem.code}: ${problem.detail ?? problem.title}`);
    this.problem = problem;
  }
}

export interface Person {
  readonly user: User;
  readonly password: string;
  accessToken: string;
  refreshToken: string;
  /** A JSON request to `/api/v1<path>` as this person. Throws RestError unless 2xx. */
  call<T = unknown>(method: string, path: string, body?: unknown): Promise<T>;
  createProject(name?: string): Promise<Project>;
  createPaper(projectId: string, title?: string): Promise<Paper>;
  addMember(projectId: string, userId: string, role: ProjectRole): Promise<Member>;
  setRole(projectId: string, userId: string, role: ProjectRole): Promise<Member>;
  removeMember(projectId: string, userId: string): Promise<void>;
  projects(): Promise<Page<Project>>;
  /** The document's state as a Yjs update. */
  document(name: string): Promise<Uint8Array>;
  markdown(name: string): Promise<string>;
  /** A single-use ticket for a y-websocket client. */
  ticket(): Promise<string>;
  /** Exchanges the refresh token; accessToken and refreshToken are the new ones afterwards. */
  refresh(): Promise<void>;
  logout(): Promise<void>;
}

export interface Client {
  readonly url: string;
  /** A new account; names are made up when not given. */
  register(username?: string): Promise<Person>;
  login(username: string, password?: string): Promise<Person>;
}

export function createClient(url: string): Client {
  const signIn = async (path: string, username: string, password: string): Promise<Person> => {
    const pair = await ask<TokenPair>(url, { method: "POST", path, body: { username, password } });
    return createPerson(url, pair, password);
  };
  return {
    url,
    register: (username) =>
      signIn("/auth/register", username ?? `user-${crypto.randomUUID().slice(0, 13)}`, PASSWORD),
    login: (username, password) => signIn("/auth/login", username, password ?? PASSWORD),
  };
}

interface Ask {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly token?: string;
}

async function send(url: string, { method, path, body, token }: Ask): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const response = await fetch(`${url}/api/v1${path}`, init);
  if (!response.ok) throw new RestError(Problem.parse(await response.json()), `${method} ${path}`);
  return response;
}

async function ask<T>(url: string, request: Ask): Promise<T> {
  const response = await send(url, request);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the caller says what the route answers
  return (response.status === 204 ? undefined : await response.json()) as T;
}

function createPerson(url: string, pair: TokenPair, password: string): Person {
  const get = (path: string) => send(url, { method: "GET", path, token: person.accessToken });
  const call = <T>(method: string, path: string, body?: unknown) =>
    ask<T>(url, { method, path, body, token: person.accessToken });
  const documentPath = (name: string) => `/documents/${encodeURIComponent(name)}`;
  const person: Person = {
    user: pair.user,
    password,
    accessToken: pair.accessToken,
    refreshToken: pair.refreshToken,
    call,
    createProject: (name = "Project") => call("POST", "/projects", { name }),
    createPaper: (projectId, title = "Paper") => call("POST", `/projects/${projectId}/papers`, { title }),
    addMember: (projectId, userId, role) => call("POST", `/projects/${projectId}/members`, { userId, role }),
    setRole: (projectId, userId, role) => call("PATCH", `/projects/${projectId}/members/${userId}`, { role }),
    removeMember: (projectId, userId) => call("DELETE", `/projects/${projectId}/members/${userId}`),
    projects: () => call("GET", "/projects"),
    document: async (name) => new Uint8Array(await (await get(documentPath(name))).arrayBuffer()),
    markdown: async (name) => (await get(`${documentPath(name)}?format=markdown`)).text(),
    ticket: async () => (await call<{ ticket: string }>("POST", "/auth/tickets")).ticket,
    refresh: async () => {
      const next = await ask<TokenPair>(url, {
        method: "POST",
        path: "/auth/refresh",
        body: { refreshToken: person.refreshToken },
      });
      person.accessToken = next.accessToken;
      person.refreshToken = next.refreshToken;
    },
    logout: () => call("POST", "/auth/logout"),
  };
  return person;
}
