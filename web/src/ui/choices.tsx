import { Languages, Monitor, Moon, Sun } from "lucide";
import { messages } from "../i18n/messages.ts";
import { chooseLocale, chooseTheme, locale, theme, type Locale, type Theme } from "../preferences.ts";
import { Icon, type IconNode } from "./icon.tsx";

interface Option<Value extends string> {
  readonly value: Value;
  readonly label: string;
  readonly icon?: IconNode;
  readonly lang?: string;
}

interface SegmentedProps<Value extends string> {
  readonly label: string;
  readonly value: Value;
  readonly options: readonly Option<Value>[];
  readonly onChoose: (value: Value) => void;
  readonly testId: string;
}

/** A few choices side by side, one of them on. */
function Segmented<Value extends string>(props: SegmentedProps<Value>) {
  return (
    <div class="segmented" role="group" aria-label={props.label} data-testid={props.testId}>
      {props.options.map((option) => (
        <button
          key={option.value}
          type="button"
          aria-pressed={option.value === props.value}
          lang={option.lang}
          data-value={option.value}
          onClick={() => props.onChoose(option.value)}
        >
          {option.icon !== undefined && <Icon node={option.icon} size={15} />}
          {option.label}
        </button>
      ))}
    </div>
  );
}

export function ThemeChoice() {
  const text = messages.value.menu;
  const options: readonly Option<Theme>[] = [
    { value: "system", label: text.system, icon: Monitor },
    { value: "light", label: text.light, icon: Sun },
    { value: "dark", label: text.dark, icon: Moon },
  ];
  return (
    <Segmented
      label={text.theme}
      value={theme.value}
      options={options}
      onChoose={chooseTheme}
      testId="theme"
    />
  );
}

/** Each language under its own name, whatever language the rest is in. */
const LANGUAGES: readonly Option<Locale>[] = [
  { value: "en", label: "English", lang: "en" },
  { value: "zh", label: "中文", lang: "zh-CN" },
];

export function LanguageChoice() {
  return (
    <Segmented
      label={messages.value.menu.language}
      value={locale.value}
      options={LANGUAGES}
      onChoose={chooseLocale}
      testId="language"
    />
  );
}

/** For screens without a menu: one press changes to the other language. */
export function LanguageToggle() {
  const other = LANGUAGES.find((language) => language.value !== locale.value);
  return other === undefined ? null : (
    <button
      type="button"
      class="button button-quiet"
      lang={other.lang}
      data-testid="language-toggle"
      onClick={() => chooseLocale(other.value)}
    >
      <Icon node={Languages} size={16} />
      {other.label}
    </button>
  );
}
