import { randomInt } from "node:crypto";
import { beginLineage, headStream, type Compactor, type StoredDocument } from "@scriptorium/collab";
import { DOCUMENT_KINDS, formatDocumentName, type DocumentKind } from "@scriptorium/shared";
import { createMembers } from "../projects/members.ts";
import type { Holding, StoredStream, Target } from "../storage/archive.ts";
import { openBackup, type BackupHeader } from "./backup-file.ts";
import { fill } from "./fill.ts";
import type { Piece } from "./piece.ts";
import { piecesOf } from "./pieces.ts";
import { demandEqual, type Totals } from "./tally.ts";

export interface RestoreDeps {
  /** Opens what is to be filled; `source` is the same for every attempt with the same backup. */
  readonly open: (source: string) => Promise<Target>;
  readonly compactor: Pick<Compactor, "merge">;
  readonly now: () => number;
  /** Passes pieces on, and may tell how far it is. */
  readonly watch: (pieces: AsyncIterable<Piece>, doing: string) => AsyncIterable<Piece>;
}

export interface RestoreOptions {
  /** Leaves out sessions and keys: for a backup that others may have seen, or sessions that were ended since. */
  readonly signEveryoneOut: boolean;
}

export interface Restored {
  readonly header: BackupHeader;
  readonly totals: Totals;
  /** Documents with an update that waited for one that never came; it is left out. */
  readonly parked: readonly string[];
}

/**
 * By how much every epoch grows. More than a document is ever replaced, so that no epoch is one that the old lineage has
 * got since the backup; and by chance, so that two restores of one backup have no epoch in common.
 */
const LIFT = { least: 2 ** 20, below: 2 ** 32 };

const HEADS_AT_ONCE = 500;

/** Where the ids of documents of each kind come from. */
const NAMED_BY: Readonly<Record<DocumentKind, "papers" | "projects">> = {
  notes: "papers",
  brief: "projects",
  board: "projects",
};

/** Fills an empty store from a backup. Nothing is written before the file is known to be whole. */
export async function restore(path: string, deps: RestoreDeps, options: RestoreOptions): Promise<Restored> {
  const backup = await openBackup(path);
  try {
    const target = await deps.open(backup.digest);
    try {
      const lineages = newLineages(deps);
      const wanted = withoutSome(deps.watch(backup.pieces(), "restoring"), options);
      const totals = await fill(target, lineages.begin(wanted));
      await demandEqual(totals, deps.watch(piecesOf(target), "checking"));
      await completeMemberships(target, deps.now);
      const head = { epoch: 1 + lineages.lift, parts: [], retired: [], deleted: false };
      await fill(target, emptyDocuments(target, lineages.begun, head));
      await target.finish();
      return { header: backup.header, totals, parked: lineages.parked };
    } catch (error) {
      await target.close();
      throw error;
    }
  } finally {
    await backup.close();
  }
}

/** Leaves out who was signed in, with the keys that would let them in again, when that is asked for. */
async function* withoutSome(
  pieces: AsyncIterable<Piece>,
  { signEveryoneOut }: RestoreOptions,
): AsyncGenerator<Piece> {
  for await (const piece of pieces) {
    const left = signEveryoneOut && piece.kind === "docs" && piece.spec.name === "sessions";
    if (left) continue;
    if (!signEveryoneOut || piece.kind !== "streams") yield piece;
    else yield { ...piece, streams: piece.streams.filter(({ name }) => !/^(refresh|keys):/.test(name)) };
  }
}

/** Every document becomes another lineage of the same content, so that no browser merges its copy of the old one. */
function newLineages({ compactor }: Pick<RestoreDeps, "compactor">) {
  const lift = randomInt(LIFT.least, LIFT.below);
  const begun = new Set<string>();
  const parked: string[] = [];
  return {
    lift,
    begun,
    parked,
    async *begin(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece> {
      for await (const piece of pieces) {
        if (piece.kind === "document") begun.add(piece.name);
        if (piece.kind !== "document" || piece.stored.head.deleted) {
          yield piece;
          continue;
        }
        const { name: document, stored } = piece;
        const next = await beginLineage(stored, { document, epoch: stored.head.epoch + lift, compactor });
        if (next.parked) parked.push(document);
        const parts = next.part === undefined ? [] : [next.part.body];
        yield { ...piece, stored: { head: next.head, at: stored.at + 1, parts, rows: [] } };
      }
    },
  };
}

/** Documents that nobody had written in yet: somebody may have since, and returns with that. Only heads, all alike. */
async function* emptyDocuments(
  { archive }: Holding,
  known: ReadonlySet<string>,
  head: StoredDocument["head"],
): AsyncGenerator<Piece> {
  const there = new Set((await archive.collections()).map(({ name }) => name));
  let streams: StoredStream[] = [];
  for (const kind of DOCUMENT_KINDS) {
    if (!there.has(NAMED_BY[kind])) continue;
    for await (const { id } of archive.docs(NAMED_BY[kind])) {
      const name = formatDocumentName({ kind, id });
      if (known.has(name)) continue;
      streams.push({ name: headStream(name), floor: 1, entries: [{ at: 1, entry: { ...head } }] });
      if (streams.length < HEADS_AT_ONCE) continue;
      yield { kind: "streams", streams };
      streams = [];
    }
  }
  yield { kind: "streams", streams };
}

/** Who is taken out of a project while it is backed up may be in it by its stream and not by its rows. */
async function completeMemberships({ store, archive }: Holding, now: () => number): Promise<void> {
  const members = createMembers({ open: store.open, streams: store.streams, now });
  if (!(await archive.collections()).some(({ name }) => name === "projects")) return;
  for await (const { id } of archive.docs("projects")) await members.reindex(id);
}
