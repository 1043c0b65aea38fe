import type { CollabNotice, ReadOnlyReason } from "@scriptorium/shared";

const REASONS: Readonly<Record<ReadOnlyReason, true>> = { role: true, store: true, draining: true };

function isReason(value: unknown): value is ReadOnlyReason {
  return typeof value === "string" && Object.hasOwn(REASONS, value);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A stateless message as a notice, or undefined for anything else. By hand, so that zod stays out of the bundle. */
export function parseNotice(payload: string): CollabNotice | undefined {
  const value = parseJson(payload);
  if (typeof value !== "object" || value === null || !("type" in value) || !("epoch" in value))
    return undefined;
  const { epoch } = value;
  if (typeof epoch !== "number" || !Number.isInteger(epoch) || epoch < 1) return undefined;
  if (value.type === "reset") return { type: "reset", epoch };
  return value.type === "state" && "readOnly" in value ? stateNotice(epoch, value.readOnly) : undefined;
}

function stateNotice(epoch: number, readOnly: unknown): CollabNotice | undefined {
  return readOnly === null || isReason(readOnly) ? { type: "state", epoch, readOnly } : undefined;
}
