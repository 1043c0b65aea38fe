import type {
  Member,
  Page,
  Paper,
  PatchPaperBody,
  Project,
  ProjectRole,
  Session as SessionRow,
  TokenPair,
  User,
} from "@scriptorium/shared";
import { LIMITS } from "../limits.ts";
import { accessToken } from "../session/session.ts";
import { ApiFailure, send, type ApiRequest } from "./http.ts";

/** Sends with a fresh token; a token that is refused all the same is renewed once. */
async function call<Answer>(request: ApiRequest): Promise<Answer> {
  const token = await accessToken();
  try {
    return await send<Answer>({ ...request, token });
  } catch (error) {
    if (!(error instanceof ApiFailure) || !error.signedOut) throw error;
    return await send<Answer>({ ...request, token: await accessToken(token) });
  }
}

const get = <Answer>(path: string) => call<Answer>({ method: "GET", path });
const post = <Answer>(path: string, body: unknown) => call<Answer>({ method: "POST", path, body });
const patch = <Answer>(path: string, body: unknown) => call<Answer>({ method: "PATCH", path, body });
const remove = (path: string) => call<undefined>({ method: "DELETE", path });

function page<Item>(path: string, cursor: string | null): Promise<Page<Item>> {
  const query = new URLSearchParams({ limit: String(LIMITS.pageSize.max) });
  if (cursor !== null) query.set("cursor", cursor);
  return get<Page<Item>>(`${path}?${query}`);
}

interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** The server's resources, in the shapes of shared/protocol/rest.ts. Every call throws ApiFailure. */
export const api = {
  register: (body: Credentials) => send<TokenPair>({ method: "POST", path: "/auth/register", body }),
  login: (body: Credentials) => send<TokenPair>({ method: "POST", path: "/auth/login", body }),
  sessions: () => get<Page<SessionRow>>("/auth/sessions"),
  endSession: (id: string) => remove(`/auth/sessions/${id}`),

  patchMe: (body: { displayName?: string; oldPassword?: string; newPassword?: string }) =>
    patch<User>("/users/me", body),

  projects: (cursor: string | null) => page<Project>("/projects", cursor),
  createProject: (body: { name: string; description: string }) => post<Project>("/projects", body),
  project: (id: string) => get<Project>(`/projects/${id}`),
  patchProject: (id: string, body: { name?: string; description?: string }) =>
    patch<Project>(`/projects/${id}`, body),
  deleteProject: (id: string) => remove(`/projects/${id}`),

  members: (projectId: string, cursor: string | null) =>
    page<Member>(`/projects/${projectId}/members`, cursor),
  addMember: (projectId: string, body: { username: string; role: ProjectRole }) =>
    post<Member>(`/projects/${projectId}/members`, body),
  changeRole: (projectId: string, userId: string, role: ProjectRole) =>
    patch<Member>(`/projects/${projectId}/members/${userId}`, { role }),
  removeMember: (projectId: string, userId: string) => remove(`/projects/${projectId}/members/${userId}`),

  papers: (projectId: string, cursor: string | null) => page<Paper>(`/projects/${projectId}/papers`, cursor),
  createPaper: (projectId: string, body: { title: string }) =>
    post<Paper>(`/projects/${projectId}/papers`, body),
  paper: (id: string) => get<Paper>(`/papers/${id}`),
  patchPaper: (id: string, body: PatchPaperBody) => patch<Paper>(`/papers/${id}`, body),
  deletePaper: (id: string) => remove(`/papers/${id}`),
};
