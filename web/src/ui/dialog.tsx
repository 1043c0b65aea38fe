import { X } from "lucide";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { messages } from "../i18n/messages.ts";
import { Icon } from "./icon.tsx";

interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  readonly testId?: string;
}

/** A modal <dialog>, open for as long as it is rendered. Escape and a click beside it close it. */
export function Dialog({ title, onClose, children, testId }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const opener = document.activeElement;
    ref.current?.showModal();
    // A dialog that is taken out of the page does not give the focus back by itself.
    return () => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class="dialog"
      aria-labelledby={id}
      data-testid={testId}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === ref.current) onClose();
      }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id={id}>{title}</h2>
          <button
            type="button"
            class="button-icon"
            aria-label={messages.value.common.close}
            onClick={onClose}
          >
            <Icon node={X} />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  readonly title: string;
  readonly body: string;
  readonly action: string;
  readonly busy: boolean;
  readonly error?: string | undefined;
  /** The action waits until the person has done this, such as typing a name. */
  readonly ready?: boolean;
  readonly onConfirm: () => void;
  readonly onClose: () => void;
  readonly children?: ComponentChildren;
}

/** Asks before something that cannot be undone. */
export function Confirm({ ready = true, ...props }: ConfirmProps) {
  return (
    <Dialog title={props.title} onClose={props.onClose} testId="confirm">
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) props.onConfirm();
        }}
      >
        <p class="muted">{props.body}</p>
        {props.children}
        {props.error !== undefined && (
          <p class="alert" role="alert">
            {props.error}
          </p>
        )}
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={props.onClose}>
            {messages.value.common.cancel}
          </button>
          <button
            type="submit"
            class="button button-danger"
            data-testid="confirm-action"
            disabled={props.busy || !ready}
          >
            {props.action}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
