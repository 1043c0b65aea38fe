import { computed } from "@preact/signals";
import { locale } from "../preferences.ts";
import { en, type Messages } from "./en.ts";
import { zh } from "./zh.ts";

export type { Messages } from "./en.ts";

/** The texts in the chosen language. Reading `.value` in a component makes it follow the language switch. */
export const messages = computed<Messages>(() => (locale.value === "zh" ? zh : en));

const UNITS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** "3 hours ago", for an ISO time. Under a minute counts as now. */
export function timeAgo(iso: string, nowMs: number = Date.now()): string {
  const seconds = Math.round((Date.parse(iso) - nowMs) / 1000);
  const format = new Intl.RelativeTimeFormat(locale.value === "zh" ? "zh-CN" : "en", { numeric: "auto" });
  const unit = UNITS.find(([, size]) => Math.abs(seconds) >= size);
  return unit === undefined
    ? format.format(0, "second")
    : format.format(Math.trunc(seconds / unit[1]), unit[0]);
}
