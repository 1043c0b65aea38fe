import { useSignal } from "@preact/signals";
import { PanelRight, Trash2 } from "lucide";
import type { FunctionComponent } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { Paper as PaperShape, Project, User } from "@scriptorium/shared";
import { api } from "../api/client.ts";
import { ApiFailure } from "../api/http.ts";
import { useAction, useResource } from "../api/resource.ts";
import { messages } from "../i18n/messages.ts";
import { createAutosave } from "../paper/autosave.ts";
import { AutosaveBadge, PaperForm } from "../paper/paper-form.tsx";
import { navigate, paths } from "../router.ts";
import { mayEdit } from "../session/permissions.ts";
import type { NotesPanelProps } from "../notes/notes-panel.tsx";
import { Confirm } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { Failed, Skeleton } from "../ui/states.tsx";
import { Shell } from "./shell.tsx";

type Notes = FunctionComponent<NotesPanelProps>;

interface Opened {
  readonly paper: PaperShape;
  readonly project: Project;
}

async function load(paperId: string): Promise<Opened> {
  const paper = await api.paper(paperId);
  return { paper, project: await api.project(paper.projectId) };
}

/** Notes and details of a paper. The notes open by themselves: they may be on this device while the server is away. */
export function Paper({ user, paperId }: { readonly user: User; readonly paperId: string }) {
  const text = messages.value;
  const opened = useResource(paperId, () => load(paperId));
  /** On a narrow screen one of the two is shown; on a wide one the details can be put away. */
  const details = useSignal(false);
  const hidden = useSignal(false);
  /** In the background: what is on the screen stays, and so does what is being typed. */
  const refresh = async () => {
    const fresh = await load(paperId).catch((error: unknown) => {
      if (!(error instanceof ApiFailure)) throw error;
    });
    if (fresh !== undefined) opened.set(fresh);
  };
  const state = opened.state.value;
  const crumbs =
    state.at === "ready"
      ? [
          { label: text.projects.title, href: paths.projects },
          { label: state.value.project.name, href: paths.project(state.value.project.id) },
        ]
      : [{ label: text.projects.title, href: paths.projects }];
  const title = state.at === "ready" ? state.value.paper.title : "";
  const gone = state.at === "failed" && state.failure.code === "not_found";
  const show = (what: "notes" | "details") => () => {
    details.value = what === "details";
    hidden.value = false;
  };
  const layout = [
    "paper",
    details.value ? "paper-shows-details" : "",
    hidden.value ? "paper-hides-details" : "",
  ];
  return (
    <Shell user={user} title={title} crumbs={crumbs} full>
      {gone ? (
        <Failed failure={state.failure} onRetry={opened.reload} />
      ) : (
        <div class={layout.join(" ")}>
          <header class="paper-head">
            <h1 title={title}>{title}</h1>
            <div class="segmented paper-tabs" role="group" aria-label={text.paper.details}>
              <button
                type="button"
                aria-pressed={!details.value}
                data-testid="tab-notes"
                onClick={show("notes")}
              >
                {text.paper.notes}
              </button>
              <button
                type="button"
                aria-pressed={details.value}
                data-testid="tab-details"
                onClick={show("details")}
              >
                {text.paper.details}
              </button>
            </div>
            <button
              type="button"
              class="button-icon paper-toggle"
              aria-label={text.paper.details}
              aria-pressed={!hidden.value}
              title={text.paper.details}
              onClick={() => {
                hidden.value = !hidden.value;
              }}
            >
              <Icon node={PanelRight} />
            </button>
          </header>
          <LazyNotes user={user} paperId={paperId} onRoleChange={() => void refresh()} />
          <aside class="paper-details" aria-label={text.paper.details}>
            {state.at === "loading" && <Skeleton lines={8} />}
            {state.at === "failed" && <Failed failure={state.failure} onRetry={opened.reload} />}
            {state.at === "ready" && (
              <Details
                key={state.value.paper.id}
                opened={state.value}
                onSaved={(paper) => opened.set({ paper, project: state.value.project })}
              />
            )}
          </aside>
        </div>
      )}
    </Shell>
  );
}

interface DetailsProps {
  readonly opened: Opened;
  readonly onSaved: (paper: PaperShape) => void;
}

function Details({ opened: { paper, project }, onSaved }: DetailsProps) {
  const text = messages.value;
  const autosave = useMemo(
    () => createAutosave({ paper, patch: (body) => api.patchPaper(paper.id, body), onSaved }),
    [],
  );
  useEffect(() => autosave.stop, []);
  const deleting = useSignal(false);
  const { busy, failure, run } = useAction();
  const editor = mayEdit(project.role);
  return (
    <>
      <div class="section-head">
        <h2>{text.paper.details}</h2>
        {editor && <AutosaveBadge autosave={autosave} />}
      </div>
      <PaperForm autosave={autosave} readOnly={!editor} />
      {editor && (
        <button
          type="button"
          class="button button-quiet button-quiet-danger"
          data-testid="delete-paper"
          onClick={() => {
            deleting.value = true;
          }}
        >
          <Icon node={Trash2} size={16} />
          {text.paper.delete}
        </button>
      )}
      {deleting.value && (
        <Confirm
          title={text.paper.deleteTitle}
          body={text.paper.deleteBody}
          action={text.paper.delete}
          busy={busy.value}
          error={failure.value === null ? undefined : text.failure[failure.value.code]}
          onClose={() => {
            deleting.value = false;
          }}
          onConfirm={() =>
            void run(async () => {
              await api.deletePaper(paper.id);
              navigate(paths.project(project.id));
            })
          }
        />
      )}
    </>
  );
}

/** The editor, Yjs and the socket are most of the client's code: they are loaded when a paper is opened. */
function LazyNotes(props: NotesPanelProps) {
  const text = messages.value.notes;
  const panel = useSignal<Notes | "failed" | null>(null);
  useEffect(() => {
    let wanted = true;
    const open = async () => {
      const loaded = await import("../notes/notes-panel.tsx").catch(() => undefined);
      if (wanted) panel.value = loaded?.NotesPanel ?? "failed";
    };
    void open();
    return () => {
      wanted = false;
    };
  }, []);
  const Panel = panel.value;
  if (Panel === "failed") {
    return (
      <section class="notes">
        <p class="alert" role="alert">
          {text.failed}
        </p>
      </section>
    );
  }
  if (Panel === null) {
    return (
      <section class="notes">
        <div class="notes-loading">
          <Skeleton lines={7} label={text.loading} />
        </div>
      </section>
    );
  }
  return <Panel key={props.paperId} {...props} />;
}
