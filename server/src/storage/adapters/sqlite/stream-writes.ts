import type { Handlers, WriteCalls } from "./calls.ts";
import { storedWidth } from "./statements.ts";
import type { Meter, Prepare } from "./statements.ts";

export function streamWrites(prepare: Prepare, meter: Meter): Handlers<Pick<WriteCalls, "append" | "trim">> {
  const find = prepare("SELECT id, floor FROM stream WHERE name = ?");
  const create = prepare("INSERT INTO stream (name, floor) VALUES (?, 1)");
  const add = prepare("INSERT INTO entry (stream, at, op, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");
  const findOp = prepare("SELECT 1 FROM entry WHERE stream = ? AND op = ?");
  const findHead = prepare("SELECT max(at) AS at FROM entry WHERE stream = ?");
  const removeBelow = prepare("DELETE FROM entry WHERE stream = ? AND at < ?");
  const raiseFloor = prepare("UPDATE stream SET floor = ? WHERE id = ? AND floor < ?");

  const open = (name: string): { readonly id: number; readonly floor: number } => {
    const stream = find.get(name);
    if (stream !== undefined) return { id: Number(stream["id"]), floor: Number(stream["floor"]) };
    meter.bytes += name.length;
    return { id: Number(create.run(name).lastInsertRowid), floor: 1 };
  };

  return {
    append({ stream: name, at, op, body }) {
      const stream = open(name);
      // A position below the floor was trimmed away: it is as taken as any other of the past.
      const added = at >= stream.floor && Number(add.run(stream.id, at, op ?? null, body).changes) > 0;
      if (added) {
        meter.bytes += storedWidth(stream.id) + storedWidth(at) + (op?.length ?? 0) + body.length;
        return "ok";
      }
      return op !== undefined && findOp.get(stream.id, op) !== undefined ? "seen" : "taken";
    },

    trim({ stream: name, before }) {
      const stream = open(name);
      const head = findHead.get(stream.id)?.["at"];
      if (typeof head !== "number") return undefined;
      const floor = Math.min(before, head);
      removeBelow.run(stream.id, floor);
      raiseFloor.run(floor, stream.id, floor);
      return undefined;
    },
  };
}
