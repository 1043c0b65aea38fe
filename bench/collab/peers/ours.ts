import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Paper, Project, TokenPair, formatDocumentName } from "@scriptorium/shared";
import type { Door } from "../generator/member.ts";
import type { ProtocolName } from "../wire/protocol.ts";
import { startChild } from "../processes.ts";
import type { Child } from "../processes.ts";
import type { Peer, PeerName } from "./peer.ts";

const MAIN = fileURLToPath(new URL("../../../server/src/main.ts", import.meta.url));
const READY = /Scriptorium is ready at http:\/\/127\.0\.0\.1:(\d+)/;
const PASSWORD = "correct horse battery";
const CREATE_AT_ONCE = 16;
/** The store's own count, of every key and value bound; the room's `collab_stored_bytes` leaves the keys out. */
const STORED_METRIC = "store_stored_bytes";

/**
 * What the comparison needs open: the limiter out of the way, documents of 10 MB, thousands of sockets of one person.
 * The byte budget per client and everything else stays as it is shipped.
 */
const SETTINGS = {
  PORT: "0",
  HOST: "127.0.0.1",
  LOG_LEVEL: "warn",
  COLLAB_MESSAGES_PER_SECOND: "1000000",
  COLLAB_MESSAGE_BURST: "1000000",
  COLLAB_DOCUMENT_BYTES: String(64 * 1024 * 1024),
  COLLAB_MESSAGE_BYTES: String(32 * 1024 * 1024),
} as const;

export function oursIsHere(): boolean {
  return existsSync(MAIN);
}

/** Somebody who may create and open documents, at one server. */
export interface Session {
  readonly base: string;
  readonly token: string;
}

/** A process of ours, ready; its data is where the variables say. */
export async function startOurs(
  env: Readonly<Record<string, string>>,
): Promise<{ child: Child; base: string }> {
  const child = startChild({ args: [MAIN], env: { ...SETTINGS, ...env } });
  return { child, base: `http://127.0.0.1:${String((await child.line(READY))[1])}` };
}

interface Post<T> {
  readonly path: string;
  readonly body: object;
  /** The schema of the answer. */
  readonly answer: { parse(value: unknown): T };
}

async function post<T>(session: Session, { path, body, answer }: Post<T>): Promise<T> {
  const response = await fetch(`${session.base}/api/v1${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${session.token}` },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${text}`);
  return answer.parse(JSON.parse(text));
}

export async function signIn(base: string): Promise<Session> {
  const username = `bench-${Date.now().toString(36)}`;
  const body = { username, password: PASSWORD };
  const made = await post({ base, token: "" }, { path: "/auth/register", body, answer: TokenPair });
  return { base, token: made.accessToken };
}

/** A restart keeps accounts and keys, so the one who made the documents is still who may open them. */
const sessions = new Map<string, string>();

export function door(session: Session, protocol: ProtocolName, document: string): Door {
  const port = Number(new URL(session.base).port);
  const path =
    protocol === "hocuspocus"
      ? "/collab"
      : `/yjs/${encodeURIComponent(document)}?token=${encodeURIComponent(session.token)}`;
  return { protocol, host: "127.0.0.1", port, path, document, token: session.token };
}

export async function createDocuments(session: Session, count: number): Promise<string[]> {
  const project = await post(session, { path: "/projects", body: { name: "bench" }, answer: Project });
  const path = `/projects/${project.id}/papers`;
  const names: string[] = [];
  const worker = async (): Promise<void> => {
    while (names.length < count) {
      const index = names.push("") - 1;
      const paper = await post(session, { path, body: { title: `p${index}` }, answer: Paper });
      names[index] = formatDocumentName({ kind: "notes", id: paper.id });
    }
  };
  await Promise.all(Array.from({ length: CREATE_AT_ONCE }, worker));
  return names;
}

/** What a server says of itself at /metrics; undefined for what it does not. */
export async function metric(base: string, name: string): Promise<number | undefined> {
  const response = await fetch(`${base}/metrics`);
  const text = await response.text();
  const match = new RegExp(`^scriptorium_${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text);
  return response.ok && match !== null ? Number(match[1]) : undefined;
}

function createOurs(name: PeerName, protocol: ProtocolName): Peer {
  return {
    name,
    acks: protocol === "hocuspocus",
    stores: true,
    start: async ({ directory }) => {
      const { child, base } = await startOurs({ DATA_DIR: directory });
      const known = sessions.get(directory);
      const session = known === undefined ? await signIn(base) : { base, token: known };
      sessions.set(directory, session.token);
      return {
        pid: child.pid,
        createDoors: async (count) =>
          (await createDocuments(session, count)).map((document) => door(session, protocol, document)),
        reopen: ({ document }) => Promise.resolve(door(session, protocol, document)),
        storedBytes: () => metric(base, STORED_METRIC),
        stop: child.stop,
        kill: child.kill,
      };
    },
  };
}

export const ours = createOurs("ours", "hocuspocus");
export const oursYjs = createOurs("ours-yjs", "yjs");
