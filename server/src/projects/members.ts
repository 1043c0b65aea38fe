import { Failure, newId, type ProjectRole, type Streams } from "@scriptorium/shared";
import { demand, may, type Action } from "../policy.ts";
import type { Collection, Doc, OpenCollection } from "../storage/ports.ts";
import { changeMembership, Membership, roleIn, type MembershipChange } from "./membership.ts";

/**
 * Membership of projects. The head of the project's stream is the truth, so two owners who demote each other at once
 * are decided by one append. The collection only answers "which projects is this person in"; a row there may be stale
 * and never gives a right.
 */
interface MembershipRow extends Doc {
  readonly userId: string;
  readonly projectId: string;
}

export interface Members {
  /** Opens the membership of a new project with its first owner. */
  create(projectId: string, owner: string): Promise<void>;
  state(projectId: string): Promise<Membership | undefined>;
  roleOf(projectId: string, userId: string): Promise<ProjectRole | undefined>;
  /**
   * Decides one change on behalf of `by`, whose right is checked against the very state that is changed. Throws as the
   * policy and changeMembership do.
   */
  change(projectId: string, by: string, change: MembershipChange): Promise<Membership>;
  /** Projects that may be this person's, newest first; ask roleOf for each. */
  projectsOf(userId: string, page: { after?: string; limit: number }): Promise<readonly MembershipRow[]>;
  /** Forgets the rows and the history of a deleted project; its last entry stays and says "deleted". */
  purge(projectId: string): Promise<void>;
  /** Adds what the collection lacks, for a store that was put together from parts of different moments. */
  reindex(projectId: string): Promise<void>;
  /**
   * Calls back after people's roles in a project have changed or ended. The change names itself, and when the listener
   * rejects so does the change, which stands all the same: whoever repeats it is heard again, under the same name.
   */
  whenChanged(listener: (change: RolesChanged) => Promise<void>): void;
}

export interface RolesChanged {
  readonly name: string;
  readonly userIds: readonly string[];
}

interface Decided {
  /** Its position among the changes of the project. */
  readonly n: number;
  readonly state: Membership;
}

/** Lost races in a row before we give up; each means that another change was made. */
const ATTEMPTS = 50;
/** Entries kept as the audit trail of a project. */
const KEPT_CHANGES = 200;

export function createMembers(deps: { open: OpenCollection; streams: Streams; now: () => number }): Members {
  const { streams } = deps;
  const listeners: ((change: RolesChanged) => Promise<void>)[] = [];
  const { head, decide } = createDecisions(deps);
  const roleOf = async (projectId: string, userId: string) => roleIn((await head(projectId))?.state, userId);
  const isMember = async (projectId: string, userId: string) =>
    (await roleOf(projectId, userId)) !== undefined;
  const rows = createRows({ open: deps.open, now: deps.now, isMember });

  const tell = async (name: string, userIds: readonly string[]): Promise<void> => {
    for (const listener of listeners) await listener({ name, userIds });
  };
  /** A removal that was cut short may have been decided without anybody having been told. */
  const tellAgain = async (projectId: string, by: string, userId: string): Promise<void> => {
    const last = await head(projectId);
    const mayAsk = by === userId || may(roleIn(last?.state, by), "members.manage");
    if (last === undefined || !mayAsk || roleIn(last.state, userId) !== undefined) return;
    await tell(`${streamOf(projectId)}:${last.n}:${userId}`, [userId]);
  };

  return {
    create: async (projectId, owner) => {
      await rows.add(projectId, owner);
      const joinedAt = new Date(deps.now()).toISOString();
      const state: Membership = { members: [{ userId: owner, role: "owner", joinedAt }], deleted: false };
      await streams.append(streamOf(projectId), { at: 1, entry: { ...state, by: owner } });
    },
    state: async (projectId) => (await head(projectId))?.state,
    roleOf,
    change: async (projectId, by, change) => {
      if (change.type === "add") {
        demand(await roleOf(projectId, by), actionOf(by, change));
        await rows.add(projectId, change.userId);
      }
      const decided = await decide(projectId, by, change).catch(async (error: unknown) => {
        const gone = error instanceof Failure && error.code === "not_found";
        if (gone && change.type === "remove") await tellAgain(projectId, by, change.userId);
        throw error;
      });
      const { n, state } = decided;
      const concerned =
        change.type === "delete" ? state.members.map(({ userId }) => userId) : [change.userId];
      // Both are tried: a failure of one is no reason to leave out the other.
      await Promise.all([rows.follow(projectId, change), tell(`${streamOf(projectId)}:${n}`, concerned)]);
      return state;
    },
    projectsOf: (userId, page) => rows.ofUser(userId, page),
    purge: async (projectId) => {
      await rows.removeAll(projectId);
      const last = await head(projectId);
      if (last !== undefined) await streams.trim(streamOf(projectId), last.n);
    },
    reindex: async (projectId) => {
      const state = (await head(projectId))?.state;
      if (state?.deleted !== false) return;
      for (const { userId } of state.members) await rows.add(projectId, userId);
    },
    whenChanged: (listener) => void listeners.push(listener),
  };
}

/** The stream of a project, whose head is its membership. */
function createDecisions({ streams, now }: { streams: Streams; now: () => number }) {
  const head = async (projectId: string): Promise<Decided | undefined> => {
    const entry = await streams.head(streamOf(projectId));
    return entry === undefined ? undefined : { n: entry.at, state: Membership.parse(entry.entry) };
  };
  const decide = async (projectId: string, by: string, change: MembershipChange): Promise<Decided> => {
    const at = new Date(now()).toISOString();
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const last = await head(projectId);
      demand(roleIn(last?.state, by), actionOf(by, change));
      if (last === undefined) throw new Failure("not_found");
      const next = changeMembership(last.state, change, at);
      const entry = { at: last.n + 1, entry: { ...next, by } };
      if ((await streams.append(streamOf(projectId), entry)) === "taken") continue;
      if (entry.at % KEPT_CHANGES === 0) await streams.trim(streamOf(projectId), entry.at - KEPT_CHANGES);
      return { n: entry.at, state: next };
    }
    throw new Failure("try_later");
  };
  return { head, decide };
}

/** The index from people to projects. It may name too much for a moment, never too little. */
function createRows(deps: {
  open: OpenCollection;
  now: () => number;
  isMember: (projectId: string, userId: string) => Promise<boolean>;
}) {
  const rows: Collection<MembershipRow> = deps.open({
    name: "memberships",
    unique: [["userId", "projectId"]],
    indexes: [["userId"], ["projectId"]],
  });
  const add = (projectId: string, userId: string) =>
    rows.insert({ id: newId(deps.now()), userId, projectId });
  const remove = async (projectId: string, userId: string) => {
    await rows.removeWhere({ userId, projectId });
    // Added again while we removed: the row must follow the truth.
    if (await deps.isMember(projectId, userId)) await add(projectId, userId);
  };
  return {
    add,
    /** After a change was decided. */
    follow: async (projectId: string, change: MembershipChange) => {
      // Also added before: a crash leaves a row too many, never one too few. Someone may have removed it meanwhile.
      if (change.type === "add") await add(projectId, change.userId);
      if (change.type === "remove") await remove(projectId, change.userId);
    },
    removeAll: (projectId: string) => rows.removeWhere({ projectId }),
    ofUser: (userId: string, page: { after?: string; limit: number }) =>
      rows.find({ where: { userId }, descending: true, ...page }),
  };
}

const streamOf = (projectId: string) => `members:${projectId}`;

function actionOf(by: string, change: MembershipChange): Action {
  if (change.type === "delete") return "project.delete";
  return change.type === "remove" && change.userId === by ? "members.leave" : "members.manage";
}
