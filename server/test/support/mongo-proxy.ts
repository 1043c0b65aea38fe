import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Binary, ObjectId, type Document } from "mongodb";
import { answerTo, messages, readAnswer, readCommand, withBody, type Command } from "./mongo-wire.ts";

/**
 * A TCP proxy in front of a real MongoDB-protocol server that reads what passes, so that it can answer in the server's
 * place as a replica set in trouble does. It stores nothing: every write and read is the real server's.
 */

/** What becomes of one command. Without a fault it is passed on, and so is its answer. */
export type Fault =
  /** Not executed; the error says why. */
  | { readonly kind: "refuse"; readonly code: number }
  /** Executed, and answered with an error as if it had been interrupted. */
  | { readonly kind: "interrupt"; readonly code: number }
  /** Executed, and the answer says that it was not replicated in time. */
  | { readonly kind: "not-replicated"; readonly code: number }
  /** The connection ends before the server gets it. */
  | { readonly kind: "lose-command" }
  /** Executed; the connection ends without an answer. */
  | { readonly kind: "lose-answer" }
  /** Executed; the connection ends in the middle of the answer. */
  | { readonly kind: "tear-answer" }
  | { readonly kind: "delay"; readonly ms: number };

export type Decide = (command: Command) => Fault | undefined;

export interface MongoProxy {
  /** The address of a database, for a client that may find its way among the members. */
  url(database: string): string;
  /** Asked about every command but the driver's own hello; undefined: nothing is disturbed. */
  decide: Decide | undefined;
  /** Faults so far, by kind and code. */
  readonly faults: ReadonlyMap<string, number>;
  /** The primary stays there as a secondary, or is gone: it cuts its connections and takes none. */
  stepDown(then: "stays" | "gone"): void;
  /** Makes another member the primary; one that is gone is back, as a secondary. */
  elect(): void;
  stop(): Promise<void>;
}

export interface MongoProxyOptions {
  readonly port: number;
  /** Names under which the server appears as a replica set of so many; none: a standalone server. */
  readonly members?: number;
}

interface Member {
  readonly server: Server;
  readonly address: string;
  readonly clients: Set<Socket>;
  gone: boolean;
}

const SET = "drill";
const HELLO: ReadonlySet<string> = new Set(["hello", "ismaster", "isMaster"]);
const TOPOLOGY: ReadonlySet<string> = new Set([
  "topologyVersion",
  "msg",
  "setName",
  "hosts",
  "me",
  "primary",
]);
const READS: ReadonlySet<string> = new Set(["find", "getMore", "aggregate", "listIndexes"]);
const TRANSACTION_TOO_OLD = 225;
const NOT_PRIMARY = { write: 10_107, read: 13_435 };
/** After these a client may send a write again, says the server by a label. WriteConcernFailed (64) is not of them. */
const RETRYABLE: ReadonlySet<number> = new Set([91, 189, 10_107, 11_600, 11_602, 13_435, 13_436]);

export async function startMongoProxy({ port, members = 0 }: MongoProxyOptions): Promise<MongoProxy> {
  const set = await openMembers(Math.max(members, 1));
  const state = members === 0 ? undefined : createSetState(set);
  const faults = new Map<string, number>();
  const executed = rememberWrites();
  const decided = (command: Command): Fault | undefined => {
    const fault = proxy.decide?.(command);
    if (fault === undefined) return undefined;
    const name = "code" in fault ? `${fault.kind} ${fault.code}` : fault.kind;
    faults.set(name, (faults.get(name) ?? 0) + 1);
    return fault;
  };
  const respond = async ({ member, client, request, ask }: Question): Promise<Buffer | undefined> => {
    const command = readCommand(request);
    if (!HELLO.has(command.name)) {
      const fault = state?.refusal(member, command) ?? decided(command);
      const execute = () => executed.once(request, command, ask);
      return respondTo({ request, command, fault, execute, client });
    }
    const answer = await ask(request);
    if (answer === undefined) return undefined;
    const plain = withoutTopology(readAnswer(answer));
    return answerTo(request, state?.hello(member, plain) ?? plain);
  };
  for (const member of set) {
    member.server.on("connection", (client) => {
      if (member.gone) client.destroy();
      else serve({ member, client, port, respond });
    });
  }

  const proxy: MongoProxy = {
    url: (database) => {
      const hosts = set.map(({ address }) => address).join(",");
      return `mongodb://${hosts}/${database}${state === undefined ? "" : `?replicaSet=${SET}`}`;
    },
    decide: undefined,
    faults,
    stepDown: (then) => state?.stepDown(then),
    elect: () => state?.elect(),
    async stop() {
      for (const member of set) {
        leave(member);
        member.server.close();
        await once(member.server, "close");
      }
    },
  };
  return proxy;
}

/** What a server says of itself, and not of others. Without a topologyVersion the driver polls, which is the worse case. */
function withoutTopology(document: Document): Document {
  return Object.fromEntries(Object.entries(document).filter(([field]) => !TOPOLOGY.has(field)));
}

/** Who is the primary, as the members tell it. */
function createSetState(set: readonly Member[]) {
  let primary: Member | undefined = set[0];
  let term = 1;
  return {
    hello(member: Member, document: Document): Document {
      const writable = member === primary;
      return {
        ...document,
        ...(Object.hasOwn(document, "ismaster") ? { ismaster: writable } : { isWritablePrimary: writable }),
        secondary: !writable,
        setName: SET,
        setVersion: 1,
        hosts: set.map(({ address }) => address),
        me: member.address,
        ...(primary === undefined ? {} : { primary: primary.address }),
        ...(writable ? { electionId: new ObjectId(term.toString(16).padStart(24, "0")) } : {}),
      };
    },
    refusal(member: Member, { name }: Command): Fault | undefined {
      if (member === primary) return undefined;
      return { kind: "refuse", code: READS.has(name) ? NOT_PRIMARY.read : NOT_PRIMARY.write };
    },
    stepDown(then: "stays" | "gone") {
      if (then === "gone" && primary !== undefined) leave(primary);
      primary = undefined;
    },
    elect() {
      const candidates = set.filter(({ gone }) => !gone);
      primary = candidates[term % candidates.length];
      for (const member of set) member.gone = false;
      term += 1;
    },
  };
}

function leave(member: Member): void {
  member.gone = true;
  for (const client of member.clients) client.destroy();
}

async function openMembers(number: number): Promise<Member[]> {
  return Promise.all(
    Array.from({ length: number }, async () => {
      const server = createServer({ noDelay: true }).listen(0, "127.0.0.1");
      await once(server, "listening");
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("the proxy has no port");
      return { server, address: `127.0.0.1:${address.port}`, clients: new Set<Socket>(), gone: false };
    }),
  );
}

/** Passes a request on; undefined when the server ended the connection instead of an answer. */
type Ask = (request: Buffer) => Promise<Buffer | undefined>;

interface Question {
  readonly member: Member;
  readonly client: Socket;
  readonly request: Buffer;
  readonly ask: Ask;
}

interface Conversation {
  readonly member: Member;
  readonly client: Socket;
  readonly port: number;
  readonly respond: (question: Question) => Promise<Buffer | undefined>;
}

/** One connection: the driver asks and waits, so there is one command at a time. */
function serve({ member, client, port, respond }: Conversation): void {
  const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
  const answers = messages(upstream);
  const ask: Ask = async (request) => {
    upstream.write(request);
    return (await answers.next()).value;
  };
  const talk = async (): Promise<void> => {
    for await (const request of messages(client)) {
      const answer = await respond({ member, client, request, ask });
      if (answer === undefined) return;
      client.write(answer);
    }
  };
  member.clients.add(client);
  // A connection may break anywhere; all that follows from it is that both ends are closed.
  for (const socket of [client, upstream]) socket.on("error", () => undefined);
  upstream.on("close", () => client.destroy());
  void talk()
    .catch((error: unknown) => {
      if (!client.destroyed && !upstream.destroyed) throw error;
    })
    .finally(() => {
      member.clients.delete(client);
      client.destroy();
      upstream.destroy();
    });
}

interface Incident {
  readonly request: Buffer;
  readonly command: Command;
  readonly fault: Fault | undefined;
  readonly execute: () => Promise<Buffer | undefined>;
  readonly client: Socket;
}

/** The answer to a command, whatever it meets; undefined: none, the connection ends. */
async function respondTo(incident: Incident): Promise<Buffer | undefined> {
  const { request, command, fault, execute } = incident;
  if (fault?.kind === "lose-command") return undefined;
  if (fault?.kind === "refuse") return answerTo(request, errorOf(fault.code, command));
  if (fault?.kind === "delay") await delay(fault.ms);
  const answer = await execute();
  return answer && distorted(incident, answer);
}

async function distorted(
  { request, command, fault, client }: Incident,
  answer: Buffer,
): Promise<Buffer | undefined> {
  if (fault?.kind === "interrupt") return answerTo(request, errorOf(fault.code, command));
  if (fault?.kind === "not-replicated") {
    const writeConcernError = { code: fault.code, errmsg: "injected" };
    return answerTo(request, { ...readAnswer(answer), writeConcernError, ...labelsOf(fault.code, command) });
  }
  if (fault?.kind === "tear-answer") {
    const half = answer.subarray(0, Math.floor(answer.length / 2));
    await new Promise<unknown>((sent) => client.write(half, sent));
  }
  return fault?.kind === "lose-answer" || fault?.kind === "tear-answer" ? undefined : answer;
}

function errorOf(code: number, command: Command): Document {
  return { ok: 0, code, errmsg: "injected", codeName: "Injected", ...labelsOf(code, command) };
}

function labelsOf(code: number, { body }: Command): Document {
  return RETRYABLE.has(code) && "txnNumber" in body ? { errorLabels: ["RetryableWriteError"] } : {};
}

/**
 * A write that a client sends again under its transaction number is done once: every member of a replica set remembers
 * the answer. Servers that are no replica set do not know the numbers, so they are taken out.
 */
function rememberWrites() {
  const last = new Map<string, { number: bigint; answer: Promise<Buffer | undefined> }>();
  return {
    async once(request: Buffer, command: Command, ask: Ask): Promise<Buffer | undefined> {
      const { txnNumber, ...rest } = command.body;
      if (txnNumber === undefined) return ask(request);
      const [session, number] = [sessionOf(command), BigInt(String(txnNumber))];
      const known = last.get(session);
      if (known !== undefined && number < known.number)
        return answerTo(request, errorOf(TRANSACTION_TOO_OLD, command));
      const answer = number === known?.number ? await known.answer : undefined;
      if (answer !== undefined) return answerTo(request, readAnswer(answer));
      const asked = ask(withBody(request, rest));
      last.set(session, { number, answer: asked });
      return asked;
    },
  };
}

function sessionOf({ body: { lsid } }: Command): string {
  const id: unknown = lsid?.id;
  if (!(id instanceof Binary)) throw new Error("a transaction number without a session");
  return id.toString("hex");
}
