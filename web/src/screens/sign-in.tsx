import { useSignal } from "@preact/signals";
import { CloudOff, Eye, EyeOff, ShieldCheck, UsersRound } from "lucide";
import { useEffect, useRef } from "preact/hooks";
import { api } from "../api/client.ts";
import type { ApiFailure } from "../api/http.ts";
import { useAction } from "../api/resource.ts";
import { messages, type Messages } from "../i18n/messages.ts";
import { LIMITS } from "../limits.ts";
import { paths } from "../router.ts";
import { passwordProblem, usernameProblem } from "../session/credentials.ts";
import { signInWith } from "../session/session.ts";
import { LanguageToggle } from "../ui/choices.tsx";
import { Field } from "../ui/field.tsx";
import { Icon } from "../ui/icon.tsx";
import { Logo } from "../ui/logo.tsx";
import { FailureText } from "../ui/states.tsx";

type Mode = "sign-in" | "register";

interface Wrong {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

function check(mode: Mode, values: { username: string; password: string }, text: Messages["auth"]): Wrong {
  if (mode === "register") {
    return {
      username: usernameProblem(values.username, text),
      password: passwordProblem(values.password, text),
    };
  }
  return {
    username: values.username.trim() === "" ? text.usernameEmpty : undefined,
    password: values.password === "" ? text.passwordEmpty : undefined,
  };
}

/** What the server said about single fields, in the same place as what was found here. */
function refused(failure: ApiFailure | null, text: Messages): Wrong {
  if (failure === null) return {};
  if (failure.code === "username_taken") return { username: text.failure.username_taken };
  return { username: failure.fields.get("username"), password: failure.fields.get("password") };
}

export function SignIn({ mode }: { readonly mode: Mode }) {
  const all = messages.value;
  const text = all.auth;
  useEffect(() => {
    document.title = `${mode === "register" ? text.register : text.signIn} · ${all.app.name}`;
  }, [mode, all]);
  return (
    <div class="auth">
      <Introduction />
      <main class="auth-main" id="content">
        <div class="auth-top">
          <LanguageToggle />
        </div>
        <div class="auth-form">
          <Logo size={44} />
          <h1>{mode === "register" ? text.registerTitle : text.signInTitle}</h1>
          <p class="muted">{all.app.tagline}</p>
          <CredentialsForm key={mode} mode={mode} />
          <p class="auth-other">
            {mode === "register" ? text.haveAccount : text.newHere}{" "}
            <a href={mode === "register" ? paths.signIn : paths.register} data-testid="other-mode">
              {mode === "register" ? text.signIn : text.register}
            </a>
          </p>
        </div>
      </main>
    </div>
  );
}

function CredentialsForm({ mode }: { readonly mode: Mode }) {
  const all = messages.value;
  const text = all.auth;
  const username = useSignal("");
  const password = useSignal("");
  const visible = useSignal(false);
  const tried = useSignal(false);
  const { busy, failure, run } = useAction();
  const form = useRef<HTMLFormElement>(null);
  const values = { username: username.value, password: password.value };
  const here = tried.value ? check(mode, values, text) : {};
  const there = refused(failure.value, all);
  const wrong = { username: here.username ?? there.username, password: here.password ?? there.password };

  useEffect(() => form.current?.querySelector("input")?.focus(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    tried.value = true;
    const found = check(mode, values, text);
    if (found.username !== undefined || found.password !== undefined) {
      form.current
        ?.querySelector<HTMLInputElement>(
          found.username === undefined ? "[name=password]" : "[name=username]",
        )
        ?.focus();
      return;
    }
    await run(async () => signInWith(await (mode === "register" ? api.register(values) : api.login(values))));
  };
  const { min, max } = LIMITS.usernameChars;
  return (
    <form class="stack" ref={form} noValidate onSubmit={(event) => void submit(event)}>
      <Field
        label={text.username}
        hint={mode === "register" ? text.usernameHint(min, max) : undefined}
        error={wrong.username}
      >
        {(control) => (
          <input
            {...control}
            class="input"
            name="username"
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            data-testid="username"
            value={username}
            onInput={(event) => {
              username.value = event.currentTarget.value;
              failure.value = null;
            }}
          />
        )}
      </Field>
      <Field
        label={text.password}
        hint={mode === "register" ? text.passwordHint(LIMITS.passwordChars.min) : undefined}
        error={wrong.password}
      >
        {(control) => (
          <div class="input-with-button">
            <input
              {...control}
              class="input"
              name="password"
              {...(visible.value ? { type: "text" } : { type: "password" })}
              autocomplete={mode === "register" ? "new-password" : "current-password"}
              data-testid="password"
              value={password}
              onInput={(event) => {
                password.value = event.currentTarget.value;
                failure.value = null;
              }}
            />
            <button
              type="button"
              class="button-icon"
              aria-label={visible.value ? text.hidePassword : text.showPassword}
              onClick={() => {
                visible.value = !visible.value;
              }}
            >
              <Icon node={visible.value ? EyeOff : Eye} />
            </button>
          </div>
        )}
      </Field>
      {there.username === undefined && there.password === undefined && (
        <FailureText failure={failure.value} />
      )}
      <button
        type="submit"
        class="button button-primary button-wide"
        data-testid={mode === "register" ? "submit-register" : "submit-login"}
        disabled={busy}
      >
        {mode === "register" ? text.register : text.signIn}
      </button>
    </form>
  );
}

/** What this is, for someone who sees it for the first time. */
function Introduction() {
  const all = messages.value;
  const points = [
    { icon: ShieldCheck, text: all.auth.pointDurable },
    { icon: UsersRound, text: all.auth.pointTogether },
    { icon: CloudOff, text: all.auth.pointOffline },
  ];
  return (
    <aside class="auth-intro" aria-label={all.app.name}>
      <p class="wordmark">
        <Logo size={32} />
        {all.app.name}
      </p>
      <Manuscript />
      <ul>
        {points.map((point) => (
          <li key={point.text}>
            <Icon node={point.icon} size={20} />
            {point.text}
          </li>
        ))}
      </ul>
    </aside>
  );
}

/** A page on which two people write. */
function Manuscript() {
  return (
    <svg class="manuscript" viewBox="0 0 420 190" aria-hidden="true">
      <g class="manuscript-lines">
        <path d="M0 14h190" stroke-width="12" />
        <path d="M0 52h392M0 80h348M0 108h214M0 136h376M0 164h126" />
      </g>
      <g class="manuscript-person manuscript-one">
        <path d="M214 97v22" />
        <rect x="213" y="73" width="44" height="22" rx="6" />
        <text x="235" y="88.500">
          Ada
        </text>
      </g>
      <g class="manuscript-person manuscript-two">
        <path d="M126 153v22" />
        <rect x="125" y="129" width="44" height="22" rx="6" />
        <text x="147" y="144.500">
          李雷
        </text>
      </g>
    </svg>
  );
}
