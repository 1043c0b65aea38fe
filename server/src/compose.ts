import {
  createCollab,
  createCompactor,
  WIRE_VERSION,
  type Collab,
  type CollabLimits,
} from "@scriptorium/collab";
import { assertNever, Failure, newId, type Bus } from "@scriptorium/shared";
import type { FastifyBaseLogger, FastifyInstance } from "fastify";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { createAccess, type DocumentAccess } from "./access.ts";
import { SEAL_LABEL } from "./bus/seal.ts";
import { aloneOnStore, joinCluster, type Cluster } from "./cluster/cluster.ts";
import type { Control, ControlEffects } from "./cluster/events.ts";
import { openInstallation } from "./cluster/installation.ts";
import { ConfigError, type Config } from "./config.ts";
import { createIdentity, type Identity } from "./identity/identity.ts";
import { createOriginCheck } from "./origins.ts";
import { createDeletions, type Deletions } from "./projects/deletions.ts";
import { createMembers, type Members } from "./projects/members.ts";
import { createPapers, type Papers } from "./projects/papers.ts";
import { createPeople } from "./projects/people.ts";
import { createPurge } from "./projects/purge.ts";
import { createProjects, type Projects } from "./projects/projects.ts";
import { jwksRoute } from "./rest/auth/jwks-route.ts";
import { sessionRoutes, signInRoutes } from "./rest/auth/routes.ts";
import { documentRoutes } from "./rest/documents/routes.ts";
import { healthRoutes } from "./rest/health/routes.ts";
import { paperRoutes } from "./rest/papers/routes.ts";
import { memberRoutes } from "./rest/projects/member-routes.ts";
import { projectRoutes } from "./rest/projects/routes.ts";
import { createHttpServer, documentApi, refuseOtherMethods } from "./rest/server.ts";
import { userRoutes } from "./rest/users/routes.ts";
import { serveWeb } from "./rest/web/routes.ts";
import type { Store } from "./storage/store.ts";

/** The whole application, built without a port, a clock or an environment variable. */

export interface ComposeDeps {
  readonly store: Store;
  readonly log: FastifyBaseLogger;
  readonly now: () => number;
  /** Where the built browser client lies. */
  readonly webDir: string;
  /** Instead of the one at REDIS_URL, and closed with the app. Whoever gives one says that other nodes share the store. */
  readonly bus?: Bus;
  /** Boot id of this node; a new one by default. */
  readonly node?: string;
  /** Milliseconds that never jump; by default the process's own. */
  readonly steady?: () => number;
  /** On top of what the configuration sets; for tests and benchmarks. */
  readonly collabLimits?: Partial<CollabLimits>;
  /** How often everybody who is here is asked about again; for tests. */
  readonly reviewMs?: number;
}

export interface App {
  /** The HTTP server; tests inject requests into it. */
  readonly app: FastifyInstance;
  readonly collab: Collab;
  /** Opens the configured address; the base URL under which the server answers. */
  listen(): Promise<{ url: string; port: number }>;
  /** Drains and closes everything that compose made, the given store included, within the configured DRAIN_MS. */
  stop(): Promise<void>;
}

const API = "/api/v1";
/** Another one whenever nodes would not understand each other on the bus. */
const WIRE = `${SEAL_LABEL}/${WIRE_VERSION}`;
/** How long a session counts as alive without asking again, where another node may end it and the word be lost. */
const SHARED_SESSION_CACHE_MS = 1_000;
/** Of DRAIN_MS, what stays for the HTTP server and the store after the sockets are closed. */
const AFTER_SOCKETS = 0.25;

interface Domain {
  readonly identity: Identity;
  readonly members: Members;
  readonly projects: Projects;
  readonly papers: Papers;
  readonly access: DocumentAccess;
  readonly deletions: Deletions;
  readonly collab: Collab;
}

export async function compose(config: Config, deps: ComposeDeps): Promise<App> {
  const cluster = await openCluster(config, deps);
  const compactor = createCompactor();
  const domain = await createDomain(config, deps, { cluster, compactor });
  const { collab, deletions } = domain;
  let draining = false;
  const unready = () => {
    if (draining) return "draining";
    return collab.stats().store === "healthy" && !cluster.storeAway ? undefined : "store";
  };
  const app = createHttpServer({
    log: deps.log,
    trustProxy: config.TRUST_PROXY,
    bodyBytes: config.REST_BODY_BYTES,
    now: deps.now,
  });
  const stats = () => ({ collab: collab.stats(), store: deps.store.stats(), ...cluster.stats() });
  const sealMethods = refuseOtherMethods(app);
  if (config.ROLES.includes("api")) await documentApi(app, API);
  await app.register(healthRoutes({ unready, degraded: () => cluster.degraded(), stats }));
  if (config.ROLES.includes("api")) await registerApi(app, domain, deps);
  else app.setNotFoundHandler(() => Promise.reject(new Failure("not_found")));
  sealMethods();
  await app.ready();
  routeUpgrades(app, config.ROLES.includes("collab") ? collab : undefined, deps.log);
  await cluster.control.start(effectsOn(domain));
  await deletions.sweep();
  const review = cluster.room === undefined ? undefined : reviewNowAndThen(domain, deps);

  return {
    app,
    collab,
    listen: async () => {
      await app.listen({ host: config.HOST, port: config.PORT });
      const address = app.server.address();
      if (address === null || typeof address === "string") throw new Error("the server has no TCP address");
      const { port } = address;
      const host = config.HOST.includes(":") ? `[${config.HOST}]` : config.HOST;
      return { url: `http://${host}:${port}`, port };
    },
    stop: async () => {
      draining = true;
      clearInterval(review);
      deletions.stop();
      // The reverse of the start: no new connections, then the sockets, then the rest of HTTP, then the store.
      let cut: NodeJS.Timeout | undefined;
      const socketsClosed = collab.stop(config.DRAIN_MS * (1 - AFTER_SOCKETS)).finally(() => {
        cut = setTimeout(() => app.server.closeAllConnections(), (config.DRAIN_MS * AFTER_SOCKETS) / 2);
      });
      // Best effort: whatever fails on the way, the store is closed, and the failure is reported after that.
      const ended = await Promise.allSettled([socketsClosed, app.close()]);
      clearTimeout(cut);
      await Promise.allSettled([compactor.stop()]);
      const left = await Promise.allSettled([cluster.stop()]);
      await deps.store.close();
      for (const end of [...ended, ...left]) if (end.status === "rejected") throw end.reason;
    },
  };
}

/** On MongoDB other nodes may be there, with or without a bus; SQLite belongs to one process by its lock. */
async function openCluster(config: Config, deps: ComposeDeps): Promise<Cluster> {
  const { now, steady = () => performance.now(), node = newId(now()) } = deps;
  const log = deps.log.child({ room: "cluster" });
  if (config.MONGODB_URL === undefined && deps.bus === undefined) return aloneOnStore({ log });
  const bus = deps.bus ?? (await openBus(config, deps));
  const { streams, open } = deps.store;
  return joinCluster({ streams, open, node, bus, wire: WIRE, steady, log });
}

/** The bus at REDIS_URL. A Redis that is away now is no reason not to start: it may be away at any time later. */
async function openBus({ REDIS_URL: url }: Config, deps: ComposeDeps): Promise<Bus | undefined> {
  if (url === undefined) return undefined;
  const { id, busSecret } = await openInstallation(deps.store.streams, deps.now);
  const prefix = `scriptorium:${id}:`;
  // Loaded here: whoever runs without Redis need not wait for its client at every start, nor keep it in memory.
  const [{ checkRedis, RedisAway }, { createRedisBus }] = await Promise.all([
    import("./bus/check.ts"),
    import("./bus/redis.ts"),
  ]);
  try {
    await checkRedis({ url, prefix });
  } catch (error) {
    const says = `REDIS_URL: ${error instanceof Error ? error.message : String(error)}`;
    if (!(error instanceof RedisAway)) throw new ConfigError(says);
    deps.log.error({}, `${says}; starting without it`);
  }
  const steady = deps.steady === undefined ? {} : { steady: deps.steady };
  return createRedisBus({ url, prefix, secret: busSecret, log: deps.log.child({ room: "bus" }), ...steady });
}

/** A node that dies between a change and its announcement leaves the others untold; this is how long at most. */
const REVIEW_MS = 30_000;

function reviewNowAndThen(domain: Domain, { log, reviewMs = REVIEW_MS }: ComposeDeps): NodeJS.Timeout {
  const { collab, deletions } = domain;
  let running = false;
  const review = async (): Promise<void> => {
    if (running) return;
    running = true;
    try {
      await collab.reviewAll();
      await deletions.sweep();
    } catch (error) {
      log.warn({ err: error }, "what other nodes could not tell of was not looked for");
    } finally {
      running = false;
    }
  };
  return setInterval(() => void review(), reviewMs).unref();
}

/** What this node does when it hears of a change: first what it knows is put right, then who is there is asked again. */
function effectsOn({ identity: { sessions }, collab }: Domain): ControlEffects {
  return {
    act: async (event) => {
      switch (event.type) {
        case "session-ended":
          sessions.noteEnded(event.sessionId);
          return collab.revokeSession(event.sessionId);
        case "user-changed":
          return collab.recheckUser(event.userId);
        case "document-ended":
          return collab.recheckDocument(event.document);
        default:
          return assertNever(event);
      }
    },
    actOnAll: async () => {
      sessions.forgetAll();
      await collab.recheckAll();
    },
  };
}

/** The room, whose documents end on every node when they end here. */
function announcing(collab: Collab, control: Pick<Control, "announce">): Collab {
  // Also when it failed: the end may be in the store, and only the rest not be done. It is a word to look again.
  const andAnnounce = async (document: string, ending: Promise<void>): Promise<void> => {
    const [ended] = await Promise.allSettled([ending]);
    await control.announce({ op: newId(), events: [{ type: "document-ended", document }] });
    if (ended.status === "rejected") throw ended.reason;
  };
  return {
    ...collab,
    remove: (document) => andAnnounce(document, collab.remove(document)),
    replace: (document, update, by) => andAnnounce(document, collab.replace(document, update, by)),
  };
}

/** Identity, projects and documents, wired to each other. */
async function createDomain(
  config: Config,
  deps: ComposeDeps,
  parts: { cluster: Cluster; compactor: ReturnType<typeof createCompactor> },
): Promise<Domain> {
  const { log, now } = deps;
  const { streams, open, documents } = deps.store;
  const { control, room } = parts.cluster;
  const steady = deps.steady === undefined ? {} : { steady: deps.steady };
  const identity = await createIdentity({
    streams,
    open,
    now,
    passwordCost: {
      memoryKiB: config.AUTH_ARGON2_MEMORY_KIB,
      passes: config.AUTH_ARGON2_PASSES,
      concurrency: config.AUTH_HASH_CONCURRENCY,
      queue: config.AUTH_HASH_QUEUE,
    },
    loginLimits: {
      windowSeconds: config.AUTH_LOGIN_WINDOW_SECONDS,
      registrationsPerIp: config.AUTH_REGISTRATIONS_PER_IP,
      loginsPerIp: config.AUTH_LOGINS_PER_IP,
      failuresPerAccount: config.AUTH_FAILURES_PER_ACCOUNT,
      failuresPerPair: config.AUTH_FAILURES_PER_PAIR,
    },
    onSessionEnded: (sessionId) =>
      control.announce({ op: `session:${sessionId}`, events: [{ type: "session-ended", sessionId }] }),
    ...(room === undefined ? {} : { sessionCacheMs: SHARED_SESSION_CACHE_MS }),
    ...steady,
  });
  const members = createMembers({ open, streams, now });
  const projects = createProjects({ open, members, now });
  const papers = createPapers({ open, members, now });
  const access = createAccess({ ...identity, members, papers });
  const ownRoom = createCollab({
    store: documents,
    access,
    compactor: parts.compactor,
    log: log.child({ room: "collab" }),
    now,
    allowOrigin: createOriginCheck({ publicUrl: config.PUBLIC_URL, allowed: config.ALLOWED_ORIGINS }),
    limits: { ...collabLimits(config), ...deps.collabLimits },
    ...(room === undefined ? {} : { cluster: room }),
    ...steady,
  });
  const collab = announcing(ownRoom, control);
  members.whenChanged(({ name, userIds }) =>
    control.announce({ op: name, events: userIds.map((userId) => ({ type: "user-changed", userId })) }),
  );
  const purge = createPurge({ members, projects, papers, documents: collab });
  const deletions = createDeletions({ open, members, papers, purge, log, now });
  return { identity, members, projects, papers, access, deletions, collab };
}

async function registerApi(app: FastifyInstance, domain: Domain, deps: ComposeDeps): Promise<void> {
  const { identity, members, projects, papers, deletions, access, collab } = domain;
  const { accounts, users, keys } = identity;
  const routes = [
    signInRoutes(identity),
    sessionRoutes(identity),
    userRoutes({ accounts }),
    projectRoutes({ accounts, projects, deletions }),
    memberRoutes({ accounts, people: createPeople({ users, members }) }),
    paperRoutes({ accounts, papers, deletions }),
    documentRoutes({ accounts, access, documents: collab }),
  ];
  for (const plugin of routes) await app.register(plugin, { prefix: API });
  await app.register(jwksRoute({ keys }));
  await serveWeb(app, deps.webDir);
}

/** Only what is set: the defaults are the room's own. */
function collabLimits(config: Config): Partial<CollabLimits> {
  const set: { [K in keyof CollabLimits]?: number | undefined } = {
    messageBytes: config.COLLAB_MESSAGE_BYTES,
    documentBytes: config.COLLAB_DOCUMENT_BYTES,
    clientBufferBytes: config.COLLAB_CLIENT_BUFFER_BYTES,
    uncommittedBytes: config.COLLAB_UNCOMMITTED_BYTES,
    sockets: config.COLLAB_SOCKETS,
    messagesPerSecond: config.COLLAB_MESSAGES_PER_SECOND,
    messageBurst: config.COLLAB_MESSAGE_BURST,
  };
  return Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined));
}

/** Hands WebSocket upgrades to the room; anything else is answered 404 and closed. */
function routeUpgrades(app: FastifyInstance, collab: Collab | undefined, log: FastifyBaseLogger): void {
  app.server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // Until a WebSocket owns it, a reset connection must not end the process.
    socket.on("error", (error) => log.info({ err: error }, "upgrade socket error"));
    try {
      const named = URL.canParse(request.url ?? "", "http://host.invalid");
      if (named && collab?.upgrade(request, socket, head) === true) return;
      // HTTP sockets are half-open by default: without the destroy, a client that never ends would keep this one.
      socket.once("finish", () => socket.destroy());
      socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    } catch (error) {
      log.error({ err: error }, "upgrade failed");
      socket.destroy();
    }
  });
}
