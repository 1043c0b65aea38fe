import { CircleAlert } from "lucide";
import type { ComponentChildren } from "preact";
import type { ApiFailure } from "../api/http.ts";
import { messages } from "../i18n/messages.ts";
import { Icon, type IconNode } from "./icon.tsx";

/** Grey bars in place of what is being loaded. */
export function Skeleton({ lines = 3, label }: { readonly lines?: number; readonly label?: string }) {
  return (
    <div class="skeleton" role="status">
      <span class="visually-hidden">{label ?? messages.value.common.loading}</span>
      {Array.from({ length: lines }, (_, line) => (
        <span class="skeleton-line" key={line} />
      ))}
    </div>
  );
}

interface EmptyProps {
  readonly icon: IconNode;
  readonly title: string;
  readonly body: string;
  readonly children?: ComponentChildren;
}

export function Empty({ icon, title, body, children }: EmptyProps) {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon node={icon} size={26} />
      </span>
      <h3>{title}</h3>
      <p class="muted">{body}</p>
      {children}
    </div>
  );
}

export function FailureText({ failure }: { readonly failure: ApiFailure | null }) {
  return failure === null ? null : (
    <p class="alert" role="alert">
      {messages.value.failure[failure.code]}
    </p>
  );
}

export function Failed({ failure, onRetry }: { readonly failure: ApiFailure; readonly onRetry: () => void }) {
  const text = messages.value;
  return (
    <div class="empty" role="alert">
      <span class="empty-icon">
        <Icon node={CircleAlert} size={26} />
      </span>
      <p>{text.failure[failure.code]}</p>
      <button type="button" class="button" onClick={onRetry}>
        {text.common.retry}
      </button>
    </div>
  );
}
