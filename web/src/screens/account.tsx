import { useSignal } from "@preact/signals";
import { MonitorSmartphone } from "lucide";
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import type { Session as SessionRow, User } from "@scriptorium/shared";
import { api } from "../api/client.ts";
import { useAction, useResource } from "../api/resource.ts";
import { messages, timeAgo } from "../i18n/messages.ts";
import { LIMITS } from "../limits.ts";
import { paths } from "../router.ts";
import { passwordProblem } from "../session/credentials.ts";
import { deviceName } from "../session/device-name.ts";
import { updateUser } from "../session/session.ts";
import { LanguageChoice, ThemeChoice } from "../ui/choices.tsx";
import { Field } from "../ui/field.tsx";
import { Icon } from "../ui/icon.tsx";
import { Failed, FailureText, Skeleton } from "../ui/states.tsx";
import { say } from "../ui/toast.tsx";
import { Shell } from "./shell.tsx";

export function Account({ user }: { readonly user: User }) {
  const text = messages.value;
  return (
    <Shell
      user={user}
      title={text.account.title}
      crumbs={[{ label: text.projects.title, href: paths.projects }]}
    >
      <div class="page page-narrow">
        <header class="page-head">
          <h1>{text.account.title}</h1>
        </header>
        <Panel title={text.account.profile}>
          <Profile user={user} />
        </Panel>
        <Panel title={text.account.appearance}>
          <div class="choice-rows">
            <span>{text.menu.theme}</span>
            <ThemeChoice />
            <span>{text.menu.language}</span>
            <LanguageChoice />
          </div>
        </Panel>
        <Panel title={text.account.password}>
          <Password />
        </Panel>
        <Panel title={text.account.sessions}>
          <Sessions />
        </Panel>
      </div>
    </Shell>
  );
}

function Panel({ title, children }: { readonly title: string; readonly children: ComponentChildren }) {
  const id = useId();
  return (
    <section class="panel" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

function Profile({ user }: { readonly user: User }) {
  const text = messages.value;
  const name = useSignal(user.displayName);
  const { busy, failure, run } = useAction();
  const empty = name.value.trim() === "";
  const submit = async (event: Event) => {
    event.preventDefault();
    if (empty) return;
    const saved = await run(async () => updateUser(await api.patchMe({ displayName: name.value.trim() })));
    if (saved) say(text.common.saved);
  };
  return (
    <form class="stack" noValidate onSubmit={(event) => void submit(event)}>
      <p class="muted name-line">
        @{user.username}
        {user.admin && <span class="chip chip-owner">{text.account.admin}</span>}
      </p>
      <Field
        label={text.account.displayName}
        hint={text.account.displayNameHint}
        error={empty ? text.account.displayNameEmpty : failure.value?.fields.get("displayName")}
      >
        {(control) => (
          <input
            {...control}
            class="input"
            autocomplete="name"
            maxLength={LIMITS.displayNameChars}
            data-testid="display-name"
            value={name}
            onInput={(event) => {
              name.value = event.currentTarget.value;
            }}
          />
        )}
      </Field>
      <FailureText failure={failure.value} />
      <button type="submit" class="button button-primary" data-testid="save-profile" disabled={busy}>
        {text.common.save}
      </button>
    </form>
  );
}

function Password() {
  const text = messages.value;
  const before = useSignal("");
  const after = useSignal("");
  const tried = useSignal(false);
  const { busy, failure, run } = useAction();
  const wrong = failure.value?.code === "wrong_credentials";
  const beforeError = tried.value && before.value === "" ? text.auth.passwordEmpty : undefined;
  const afterError = tried.value ? passwordProblem(after.value, text.auth) : undefined;
  const submit = async (event: Event) => {
    event.preventDefault();
    tried.value = true;
    if (before.value === "" || passwordProblem(after.value, text.auth) !== undefined) return;
    const body = { oldPassword: before.value, newPassword: after.value };
    const changed = await run(async () => updateUser(await api.patchMe(body)));
    if (!changed) return;
    tried.value = false;
    before.value = "";
    after.value = "";
    say(text.account.passwordChanged);
  };
  return (
    <form class="stack" noValidate onSubmit={(event) => void submit(event)}>
      <Field
        label={text.account.oldPassword}
        error={beforeError ?? (wrong ? text.failure.wrong_credentials : undefined)}
      >
        {(control) => (
          <input
            {...control}
            class="input"
            type="password"
            autocomplete="current-password"
            data-testid="old-password"
            value={before}
            onInput={(event) => {
              before.value = event.currentTarget.value;
            }}
          />
        )}
      </Field>
      <Field
        label={text.account.newPassword}
        hint={text.auth.passwordHint(LIMITS.passwordChars.min)}
        error={afterError}
      >
        {(control) => (
          <input
            {...control}
            class="input"
            type="password"
            autocomplete="new-password"
            data-testid="new-password"
            value={after}
            onInput={(event) => {
              after.value = event.currentTarget.value;
            }}
          />
        )}
      </Field>
      {!wrong && <FailureText failure={failure.value} />}
      <button type="submit" class="button button-primary" data-testid="change-password" disabled={busy}>
        {text.account.changePassword}
      </button>
    </form>
  );
}

function Sessions() {
  const text = messages.value;
  const sessions = useResource("sessions", () => api.sessions());
  const state = sessions.state.value;
  if (state.at === "loading") return <Skeleton lines={2} />;
  if (state.at === "failed") return <Failed failure={state.failure} onRetry={sessions.reload} />;
  const gone = (id: string) =>
    sessions.set({ ...state.value, items: state.value.items.filter((known) => known.id !== id) });
  return (
    <>
      <p class="muted small">{text.account.sessionsHint}</p>
      <ul class="sessions">
        {state.value.items.map((row) => (
          <SessionItem key={row.id} row={row} onGone={() => gone(row.id)} />
        ))}
      </ul>
    </>
  );
}

function SessionItem({ row, onGone }: { readonly row: SessionRow; readonly onGone: () => void }) {
  const text = messages.value.account;
  const { busy, failure, run } = useAction();
  const device = deviceName(row.device) || text.unknownDevice;
  const end = async () => {
    const ended = await run(() => api.endSession(row.id));
    if (ended) onGone();
  };
  return (
    <li class="session" data-testid="session">
      <Icon node={MonitorSmartphone} size={20} />
      <span class="member-names">
        <span class="member-name">{device}</span>
        <span class="muted small">
          {row.ip} · {text.lastSeen(timeAgo(row.lastSeenAt))}
        </span>
      </span>
      {row.current ? (
        <span class="chip">{text.thisDevice}</span>
      ) : (
        <button
          type="button"
          class="button"
          aria-label={text.endSessionOf(device)}
          data-testid="end-session"
          disabled={busy}
          onClick={() => void end()}
        >
          {text.endSession}
        </button>
      )}
      <FailureText failure={failure.value} />
    </li>
  );
}
