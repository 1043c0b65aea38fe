import { Failure, newId } from "@scriptorium/shared";
import { demand } from "../policy.ts";
import type { Collection, Doc, OpenCollection } from "../storage/ports.ts";
import type { Members } from "./members.ts";
import type { Papers } from "./papers.ts";
import type { Purge } from "./purge.ts";

/**
 * Deletion in two steps: a tombstone is written and the thing disappears for everybody, then it is purged. A crash or a
 * failing store in between leaves the tombstone, and the sweep at the next start (or half a minute later) goes on.
 */
interface Tombstone extends Doc {
  readonly kind: "project" | "paper";
  readonly target: string;
  readonly by: string;
  readonly at: string;
}

export interface Deletions {
  project(caller: string, projectId: string): Promise<void>;
  paper(caller: string, paperId: string): Promise<void>;
  /** Finishes every deletion that was begun; the number that had to stay open. */
  sweep(): Promise<number>;
  /** Ends the retries. */
  stop(): void;
}

interface DeletionsDeps {
  readonly open: OpenCollection;
  readonly members: Members;
  readonly papers: Papers;
  readonly purge: Purge;
  readonly log: { error(fields: object, message: string): void };
  readonly now: () => number;
}

const BATCH = 100;
/** After a failed purge: the store may be back by then. */
const RETRY_MS = 30_000;

export function createDeletions(deps: DeletionsDeps): Deletions {
  const tombstones: Collection<Tombstone> = deps.open({ name: "deletions", unique: [], indexes: [] });
  const { members, papers, purge } = deps;

  const begin = async (kind: Tombstone["kind"], target: string, by: string): Promise<Tombstone> => {
    const tombstone = { id: newId(deps.now()), kind, target, by, at: new Date(deps.now()).toISOString() };
    await tombstones.insert(tombstone);
    return tombstone;
  };

  /** Throws Failure when this person may not (any more); the tombstone goes with it. */
  const decide = async ({ id, kind, target, by }: Tombstone): Promise<void> => {
    if (kind === "paper") return papers.hide(target);
    if ((await members.state(target))?.deleted !== false) return undefined;
    try {
      await members.change(target, by, { type: "delete" });
    } catch (error) {
      // Perhaps it is decided and nobody could be told. The purge tells of every document once more.
      if (!isRefusal(error)) throw error;
      // Another owner was quicker: then it is decided all the same.
      if ((await members.state(target))?.deleted === true) return undefined;
      await tombstones.remove(id);
      throw error;
    }
  };

  /** Whether nothing is left to do. A failure of the store is logged and tried again later. */
  const finish = async (tombstone: Tombstone): Promise<boolean> => {
    try {
      await decide(tombstone);
      await purge[tombstone.kind](tombstone.target);
      await tombstones.remove(tombstone.id);
      return true;
    } catch (error) {
      deps.log.error({ err: error, target: tombstone.target }, "a deletion could not be finished yet");
      retry.later();
      return false;
    }
  };

  const sweep = async (): Promise<number> => {
    let left = 0;
    for await (const tombstone of everyOne(tombstones)) if (!(await finish(tombstone))) left += 1;
    return left;
  };
  const retry = createRetry(sweep, deps.log);

  const remove = async (kind: Tombstone["kind"], id: string, by: string): Promise<void> => {
    const tombstone = await begin(kind, id, by);
    await decide(tombstone).catch((error: unknown) => {
      // It may be decided all the same, and whoever asks again finds nothing left to delete: it is finished later.
      if (!isRefusal(error)) retry.later();
      throw error;
    });
    // Decided: what goes wrong from here on is finished later and is no failure of this request.
    await finish(tombstone);
  };

  return {
    project: async (caller, id) => {
      demand(await members.roleOf(id, caller), "project.delete");
      await remove("project", id, caller);
    },
    paper: async (caller, id) => {
      await papers.demandDeletion(caller, id);
      await remove("paper", id, caller);
    },
    sweep,
    stop: () => retry.stop(),
  };
}

async function* everyOne(tombstones: Collection<Tombstone>) {
  let after: { after?: string } = {};
  for (;;) {
    const batch = await tombstones.find({ where: {}, limit: BATCH, ...after });
    yield* batch;
    const last = batch.at(-1);
    if (last === undefined) return;
    after = { after: last.id };
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof Failure && (error.code === "forbidden" || error.code === "not_found");
}

function createRetry(work: () => Promise<unknown>, log: DeletionsDeps["log"]) {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const later = (): void => {
    if (timer !== undefined || stopped) return;
    timer = setTimeout(() => {
      timer = undefined;
      work().catch((error: unknown) => {
        log.error({ err: error }, "open deletions could not be read");
        later();
      });
    }, RETRY_MS).unref();
  };
  return {
    later,
    stop: (): void => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
