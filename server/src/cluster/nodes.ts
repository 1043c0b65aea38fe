import type { Bus, BusState } from "@scriptorium/shared";
import type { Collection, Doc, OpenCollection } from "../storage/ports.ts";
import { createRounds } from "./rounds.ts";
import { within } from "./within.ts";

/** A row says that a node lives for as long as its beat goes on counting; nobody compares clocks. */
interface NodeRow extends Doc {
  readonly beat: number;
  readonly bus: BusUse;
  /** How it speaks on the bus. */
  readonly wire: string;
}

/** What a node can say about its bus; `none` where REDIS_URL is not set. */
type BusUse = BusState | "none";

/** The nodes on this store. Implements the collaboration room's `Peers`. */
export interface Nodes {
  /** Boot ids of nodes that have been alive lately; another set whenever that changes. */
  readonly others: ReadonlySet<string>;
  /** Whether one of them cannot use the bus, or speaks another version on it. */
  readonly cutOff: boolean;
  /** Enters this node and looks who else is there. Rejects when the store cannot be asked. */
  start(): Promise<void>;
  /** One beat: says that this node lives, and looks at the others. */
  beat(): Promise<void>;
  /** Signs off. Best effort: a row that stays is found dead by the others. */
  stop(): Promise<void>;
}

export interface NodeLimits {
  readonly beatMs: number;
  /** Without a new beat for this long a node counts as gone. */
  readonly lapseMs: number;
  /** A row that has been dead for this long is removed by whoever has seen it so. */
  readonly forgetMs: number;
  /** What signing off may take. */
  readonly leaveMs: number;
}

/** Four missed beats: a pause of the store or of the event loop is not yet a death. */
const LIMITS: NodeLimits = { beatMs: 1_000, lapseMs: 4_000, forgetMs: 600_000, leaveMs: 1_000 };
const BATCH = 200;
/** Hints on the bus that somebody came, left, or can or cannot use the bus: look now. They carry nothing. */
const CHANNEL = "registry";
const LOOK = Uint8Array.of(1);

export interface NodesDeps {
  readonly open: OpenCollection;
  /** Boot id of this node. */
  readonly node: string;
  readonly bus: Bus | undefined;
  /** How this version speaks on the bus. Nodes of another cannot be heard, as in an upgrade: they are read in the store. */
  readonly wire: string;
  /** Milliseconds that never jump. */
  readonly steady: () => number;
  readonly log: NodesLog;
  readonly limits?: Partial<NodeLimits>;
}

export interface NodesLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export function createNodes(deps: NodesDeps): Nodes {
  const { node, bus, wire, log } = deps;
  const limits = { ...LIMITS, ...deps.limits };
  const rows: Collection<NodeRow> = deps.open({ name: "nodes", unique: [], indexes: [] });
  const watch = createWatch({ ...limits, steady: deps.steady, wire });
  let view: View = { others: new Set(), cutOff: false, dead: [] };
  let beats = 0;
  let told: BusUse | undefined;

  const write = async (): Promise<void> => {
    beats += 1;
    const says: Omit<NodeRow, "id"> = { beat: beats, bus: bus?.state ?? "none", wire };
    // Missing at the first beat, and when others have given up this node while it was suspended.
    if ((await rows.patch(node, says)) === "missing") await rows.insert({ id: node, ...says });
    if (told !== says.bus) bus?.publish(CHANNEL, LOOK);
    told = says.bus;
  };
  const look = async (): Promise<void> => {
    const next = watch.see((await everyOne(rows)).filter(({ id }) => id !== node));
    const same = sameIds(next.others, view.others);
    if (!same) log.info({ others: [...next.others] }, "other nodes have come or gone");
    view = { ...next, others: same ? view.others : next.others };
    for (const id of next.dead) if (await rows.remove(id)) log.info({ node: id }, "forgot a dead node");
  };
  const rounds = createRounds({
    work: async () => {
      await write();
      await look();
    },
    everyMs: limits.beatMs,
    slowestMs: limits.beatMs,
    onFailure: (error) => log.warn({ err: error }, "the nodes cannot be asked for; the last answer stands"),
  });
  const hints = bus?.subscribe(CHANNEL, () => rounds.soon());
  const unwatch = bus?.whenChanged(() => rounds.soon());

  const leave = async (): Promise<void> => {
    await rounds.stop();
    await rows.remove(node);
    bus?.publish(CHANNEL, LOOK);
  };

  return {
    get others() {
      return view.others;
    },
    get cutOff() {
      return view.cutOff;
    },
    async start() {
      await rounds.run();
      rounds.start();
    },
    beat: () => rounds.run(),
    async stop() {
      unwatch?.();
      hints?.end();
      const leaving = leave().catch((error: unknown) => log.warn({ err: error }, "could not sign off"));
      await within(leaving, limits.leaveMs);
    },
  };
}

function sameIds(left: ReadonlySet<string>, right: ReadonlySet<string>): boolean {
  return left.size === right.size && [...left].every((id) => right.has(id));
}

async function everyOne(rows: Collection<NodeRow>): Promise<NodeRow[]> {
  const found: NodeRow[] = [];
  for (let batch = await rows.find({ where: {}, limit: BATCH }); ;) {
    found.push(...batch);
    const last = batch.at(-1);
    if (last === undefined || batch.length < BATCH) return found;
    batch = await rows.find({ where: {}, limit: BATCH, after: last.id });
  }
}

interface View {
  readonly others: ReadonlySet<string>;
  readonly cutOff: boolean;
  /** To be forgotten. */
  readonly dead: readonly string[];
}

interface Seen {
  readonly beat: number;
  /** Watched time at which the beat was new. */
  readonly at: number;
}

/**
 * Judges other nodes by what this node has watched itself. A pause between two looks counts for no more than two beats:
 * while the store was away nobody could show a beat, and that must not look like the death of all.
 */
function createWatch(deps: NodeLimits & Pick<NodesDeps, "steady" | "wire">) {
  const { beatMs, lapseMs, forgetMs, steady, wire } = deps;
  let seen = new Map<string, Seen>();
  let watchedMs = 0;
  let lookedAt = steady();

  return {
    see(rows: readonly NodeRow[]): View {
      const now = steady();
      watchedMs += Math.min(now - lookedAt, 2 * beatMs);
      lookedAt = now;
      const next = rows.map(({ id, beat }): [string, Seen] => {
        const known = seen.get(id);
        return [id, known?.beat === beat ? known : { beat, at: watchedMs }];
      });
      seen = new Map(next);
      const silentMs = ({ id }: NodeRow) => watchedMs - (seen.get(id)?.at ?? watchedMs);
      const alive = rows.filter((row) => silentMs(row) < lapseMs);
      return {
        others: new Set(alive.map(({ id }) => id)),
        cutOff: alive.some((row) => row.bus !== "up" || row.wire !== wire),
        dead: rows.filter((row) => silentMs(row) >= forgetMs).map(({ id }) => id),
      };
    },
  };
}
