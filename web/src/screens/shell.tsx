import { useSignal } from "@preact/signals";
import { ChevronRight, LogOut, Settings } from "lucide";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { User } from "@scriptorium/shared";
import { messages } from "../i18n/messages.ts";
import { paths } from "../router.ts";
import { allUnsentEdits } from "../session/local-data.ts";
import { logOut } from "../session/session.ts";
import { Avatar } from "../ui/avatar.tsx";
import { LanguageChoice, ThemeChoice } from "../ui/choices.tsx";
import { Confirm } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { Logo } from "../ui/logo.tsx";

export interface Crumb {
  readonly label: string;
  readonly href: string;
}

interface ShellProps {
  readonly user: User;
  /** What the window is called. */
  readonly title: string;
  /** The way from the projects to here, without the place itself. */
  readonly crumbs?: readonly Crumb[];
  readonly children: ComponentChildren;
  /** Fills the window instead of growing with its content. */
  readonly full?: boolean;
}

/** The frame of every screen of a signed-in person. */
export function Shell({ user, title, crumbs = [], children, full = false }: ShellProps) {
  const text = messages.value;
  useEffect(() => {
    document.title = title === "" ? text.app.name : `${title} · ${text.app.name}`;
  }, [title, text]);
  return (
    <div class={full ? "shell shell-full" : "shell"}>
      <a class="skip-link" href="#content">
        {text.common.skip}
      </a>
      <header class="topbar">
        <nav class="crumbs" aria-label={text.app.name}>
          <a class="wordmark" href={paths.projects}>
            <Logo size={26} />
            <span>{text.app.name}</span>
          </a>
          {crumbs.map((crumb) => (
            <span class="crumb" key={crumb.href}>
              <Icon node={ChevronRight} size={15} />
              <a href={crumb.href}>{crumb.label}</a>
            </span>
          ))}
        </nav>
        <AccountMenu user={user} />
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function AccountMenu({ user }: { readonly user: User }) {
  const text = messages.value;
  const menu = useRef<HTMLDivElement>(null);
  const unsent = useSignal(0);
  const close = () => menu.current?.hidePopover();
  const leave = async () => {
    close();
    unsent.value = allUnsentEdits(user.id);
    if (unsent.value === 0) await logOut();
  };
  const person = { id: user.id, name: user.displayName, color: user.color };
  return (
    <>
      <button
        type="button"
        class="account-button"
        popovertarget="account-menu"
        aria-label={text.menu.open}
        data-testid="account-menu-button"
      >
        <Avatar person={person} size={34} />
      </button>
      <div id="account-menu" class="menu" popover="auto" ref={menu} data-testid="account-menu">
        <div class="menu-person">
          <Avatar person={person} size={40} />
          <div class="menu-names">
            <strong>{user.displayName}</strong>
            <span class="muted">@{user.username}</span>
          </div>
        </div>
        <div class="menu-section">
          <span class="menu-label">{text.menu.theme}</span>
          <ThemeChoice />
          <span class="menu-label">{text.menu.language}</span>
          <LanguageChoice />
        </div>
        <div class="menu-section menu-actions">
          <a class="menu-item" href={paths.account} data-testid="account-settings" onClick={close}>
            <Icon node={Settings} />
            {text.menu.account}
          </a>
          <button type="button" class="menu-item" data-testid="log-out" onClick={() => void leave()}>
            <Icon node={LogOut} />
            {text.menu.logOut}
          </button>
        </div>
      </div>
      {unsent.value > 0 && (
        <Confirm
          title={text.menu.logOutTitle}
          body={text.menu.logOutBody(unsent.value)}
          action={text.menu.logOutAnyway}
          busy={false}
          onConfirm={() => void logOut()}
          onClose={() => {
            unsent.value = 0;
          }}
        />
      )}
    </>
  );
}
