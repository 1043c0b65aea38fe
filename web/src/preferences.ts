import { effect, signal } from "@preact/signals";

/** How the product looks to this person on this device. Kept in localStorage; public/early.js reads the same keys. */

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];
export const LOCALES = ["en", "zh"] as const;
export type Locale = (typeof LOCALES)[number];

const THEME_KEY = "scriptorium.theme";
const LOCALE_KEY = "scriptorium.locale";

function storedTheme(): Theme {
  const stored = localStorage.getItem(THEME_KEY);
  return THEMES.find((theme) => theme === stored) ?? "system";
}

function storedLocale(): Locale {
  const stored = localStorage.getItem(LOCALE_KEY);
  const known = LOCALES.find((locale) => locale === stored);
  return known ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
}

export const theme = signal<Theme>(storedTheme());
export const locale = signal<Locale>(storedLocale());

export function chooseTheme(chosen: Theme): void {
  theme.value = chosen;
  localStorage.setItem(THEME_KEY, chosen);
}

export function chooseLocale(chosen: Locale): void {
  locale.value = chosen;
  localStorage.setItem(LOCALE_KEY, chosen);
}

/** Keeps <html> in step with the choices; returns the stop. */
export function applyPreferences(): () => void {
  return effect(() => {
    const root = document.documentElement;
    root.lang = locale.value === "zh" ? "zh-CN" : "en";
    if (theme.value === "system") delete root.dataset["theme"];
    else root.dataset["theme"] = theme.value;
  });
}
