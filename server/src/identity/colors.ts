import { createHash } from "node:crypto";

/**
 * Colours of people. Each has a contrast of at least 4.5:1 on the white of the light theme as well as at least 3:1 (the
 * bound of WCAG 1.4.11 for carets and rings) on the dark theme's #16181d; a test computes both.
 */
export const PALETTE = [
  "#c2410c",
  "#b45309",
  "#4d7c0f",
  "#15803d",
  "#0f766e",
  "#0e7490",
  "#0372b0",
  "#2563eb",
  "#6259ec",
  "#7c3aed",
  "#ab22b8",
  "#cc1d66",
  "#dc2626",
  "#64748b",
] as const;

export function colorOf(userId: string): string {
  const first = createHash("sha256").update(userId).digest().readUInt32BE(0);
  return PALETTE[first % PALETTE.length] ?? PALETTE[0];
}
