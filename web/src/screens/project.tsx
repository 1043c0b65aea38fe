import { useSignal } from "@preact/signals";
import { FileText, LogOut, Pencil, Plus, Trash2 } from "lucide";
import {
  formatDocumentName,
  type Page,
  type Paper,
  type Project as ProjectShape,
  type User,
} from "@scriptorium/shared";
import { api } from "../api/client.ts";
import { useAction, useResource, type Loaded } from "../api/resource.ts";
import { messages, timeAgo } from "../i18n/messages.ts";
import { LIMITS } from "../limits.ts";
import { navigate, paths } from "../router.ts";
import { unsentEdits } from "../session/local-data.ts";
import { mayEdit, mayManage } from "../session/permissions.ts";
import { Confirm, Dialog } from "../ui/dialog.tsx";
import { Field } from "../ui/field.tsx";
import { Icon } from "../ui/icon.tsx";
import { More } from "../ui/more.tsx";
import { Empty, Failed, FailureText, Skeleton } from "../ui/states.tsx";
import { Members } from "./members.tsx";
import { ProjectForm } from "./project-form.tsx";
import { Shell } from "./shell.tsx";

export function Project({ user, projectId }: { readonly user: User; readonly projectId: string }) {
  const project = useResource(projectId, () => api.project(projectId));
  const state = project.state.value;
  return (
    <Shell
      user={user}
      title={state.at === "ready" ? state.value.name : ""}
      crumbs={[{ label: messages.value.projects.title, href: paths.projects }]}
    >
      <div class="page">
        {state.at === "loading" && <Skeleton lines={5} />}
        {state.at === "failed" && <Failed failure={state.failure} onRetry={project.reload} />}
        {state.at === "ready" && <Opened user={user} project={state.value} onChange={project.set} />}
      </div>
    </Shell>
  );
}

type Asking = "edit" | "leave" | "delete";

interface OpenedProps {
  readonly user: User;
  readonly project: ProjectShape;
  readonly onChange: (project: ProjectShape) => void;
}

function Opened({ user, project, onChange }: OpenedProps) {
  const text = messages.value.project;
  const asking = useSignal<Asking | null>(null);
  const ask = (what: Asking | null) => () => {
    asking.value = what;
  };
  return (
    <>
      <header class="project-head">
        <div class="project-title">
          <h1>{project.name}</h1>
          {mayEdit(project.role) && (
            <button
              type="button"
              class="button-icon"
              aria-label={text.edit}
              data-testid="edit-project"
              onClick={ask("edit")}
            >
              <Icon node={Pencil} />
            </button>
          )}
        </div>
        <p class={project.description === "" ? "muted" : "project-description"}>
          {project.description === "" ? text.noDescription : project.description}
        </p>
      </header>
      <div class="project-columns">
        <Papers user={user} project={project} />
        <aside class="project-side">
          <Members user={user} project={project} />
          <div class="project-ways-out">
            <button
              type="button"
              class="button button-quiet"
              data-testid="leave-project"
              onClick={ask("leave")}
            >
              <Icon node={LogOut} size={16} />
              {text.leave}
            </button>
            {mayManage(project.role) && (
              <button
                type="button"
                class="button button-quiet button-quiet-danger"
                data-testid="delete-project"
                onClick={ask("delete")}
              >
                <Icon node={Trash2} size={16} />
                {text.delete}
              </button>
            )}
          </div>
        </aside>
      </div>
      {asking.value === "edit" && <EditProject project={project} onChange={onChange} onClose={ask(null)} />}
      {asking.value === "leave" && <LeaveProject user={user} project={project} onClose={ask(null)} />}
      {asking.value === "delete" && <DeleteProject project={project} onClose={ask(null)} />}
    </>
  );
}

interface AskProps {
  readonly project: ProjectShape;
  readonly onClose: () => void;
}

function EditProject({
  project,
  onChange,
  onClose,
}: AskProps & { readonly onChange: (next: ProjectShape) => void }) {
  const text = messages.value;
  const { busy, failure, run } = useAction();
  return (
    <Dialog title={text.project.edit} onClose={onClose}>
      <ProjectForm
        action={text.common.save}
        busy={busy.value}
        failure={failure.value}
        initial={project}
        onSubmit={async (values) => {
          const saved = await run(async () => onChange(await api.patchProject(project.id, values)));
          if (saved) onClose();
        }}
      />
    </Dialog>
  );
}

function LeaveProject({ user, project, onClose }: AskProps & { readonly user: User }) {
  const text = messages.value;
  const { busy, failure, run } = useAction();
  return (
    <Confirm
      title={text.project.leaveTitle}
      body={text.project.leaveBody(project.name)}
      action={text.project.leave}
      busy={busy.value}
      error={failure.value === null ? undefined : text.failure[failure.value.code]}
      onClose={onClose}
      onConfirm={() =>
        void run(async () => {
          await api.removeMember(project.id, user.id);
          navigate(paths.projects);
        })
      }
    />
  );
}

function DeleteProject({ project, onClose }: AskProps) {
  const text = messages.value;
  const typed = useSignal("");
  const { busy, failure, run } = useAction();
  return (
    <Confirm
      title={text.project.deleteTitle}
      body={text.project.deleteBody}
      action={text.project.delete}
      busy={busy.value}
      error={failure.value === null ? undefined : text.failure[failure.value.code]}
      ready={typed.value.trim() === project.name}
      onClose={onClose}
      onConfirm={() =>
        void run(async () => {
          await api.deleteProject(project.id);
          navigate(paths.projects);
        })
      }
    >
      <Field label={text.project.deleteConfirm(project.name)}>
        {(control) => (
          <input
            {...control}
            class="input"
            autocomplete="off"
            autofocus
            data-testid="confirm-name"
            value={typed}
            onInput={(event) => {
              typed.value = event.currentTarget.value;
            }}
          />
        )}
      </Field>
    </Confirm>
  );
}

function Papers({ user, project }: { readonly user: User; readonly project: ProjectShape }) {
  const text = messages.value.project;
  const papers = useResource(project.id, () => api.papers(project.id, null));
  const adding = useSignal(false);
  const toggle = () => {
    adding.value = !adding.value;
  };
  return (
    <section class="papers" aria-labelledby="papers-title">
      <header class="section-head">
        <h2 id="papers-title">{text.papers}</h2>
        {mayEdit(project.role) && (
          <button type="button" class="button button-primary" data-testid="new-paper" onClick={toggle}>
            <Icon node={Plus} />
            {text.addPaper}
          </button>
        )}
      </header>
      <PaperList user={user} project={project} papers={papers} />
      {adding.value && <AddPaper projectId={project.id} onClose={toggle} />}
    </section>
  );
}

interface PaperListProps {
  readonly user: User;
  readonly project: ProjectShape;
  readonly papers: Loaded<Page<Paper>>;
}

function PaperList({ user, project, papers }: PaperListProps) {
  const text = messages.value.project;
  const state = papers.state.value;
  if (state.at === "loading") return <Skeleton lines={4} />;
  if (state.at === "failed") return <Failed failure={state.failure} onRetry={papers.reload} />;
  if (state.value.items.length === 0) {
    const body = mayEdit(project.role) ? text.noPapersBody : text.noPapersRead;
    return <Empty icon={FileText} title={text.noPapersTitle} body={body} />;
  }
  return (
    <>
      <ul class="rows">
        {state.value.items.map((paper) => (
          <PaperRow key={paper.id} paper={paper} unsent={unsentOf(user, paper)} />
        ))}
      </ul>
      <More page={state.value} load={(cursor) => api.papers(project.id, cursor)} onPage={papers.set} />
    </>
  );
}

function unsentOf(user: User, paper: Paper): number {
  return unsentEdits(user.id, formatDocumentName({ kind: "notes", id: paper.id }));
}

function PaperRow({ paper, unsent }: { readonly paper: Paper; readonly unsent: number }) {
  const text = messages.value;
  const where = [paper.publication, paper.event].filter((part) => part !== "").join(", ");
  const year = paper.publicationYear === 0 ? "" : String(paper.publicationYear);
  const source = [where, year].filter((part) => part !== "").join(" · ");
  return (
    <li>
      <a class="row" href={paths.paper(paper.id)} data-testid="paper-row" data-id={paper.id}>
        <span class="row-title">{paper.title}</span>
        {paper.authors.length > 0 && <span class="row-authors">{paper.authors.join("; ")}</span>}
        <span class="row-meta">
          {source !== "" && <span>{source}</span>}
          {paper.tags.map((tag) => (
            <span class="chip" key={tag}>
              {tag}
            </span>
          ))}
          {unsent > 0 && <span class="chip chip-warn">{text.project.unsent(unsent)}</span>}
          <time dateTime={paper.updatedAt}>{timeAgo(paper.updatedAt)}</time>
        </span>
      </a>
    </li>
  );
}

function AddPaper({ projectId, onClose }: { readonly projectId: string; readonly onClose: () => void }) {
  const text = messages.value;
  const title = useSignal("");
  const tried = useSignal(false);
  const { busy, failure, run } = useAction();
  const empty = title.value.trim() === "";
  return (
    <Dialog title={text.project.addPaper} onClose={onClose}>
      <form
        class="stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          tried.value = true;
          if (empty) return;
          void run(async () =>
            navigate(paths.paper((await api.createPaper(projectId, { title: title.value.trim() })).id)),
          );
        }}
      >
        <Field
          label={text.project.paperTitle}
          error={tried.value && empty ? text.project.paperTitleEmpty : failure.value?.fields.get("title")}
        >
          {(control) => (
            <input
              {...control}
              class="input"
              autofocus
              maxLength={LIMITS.fieldChars}
              data-testid="paper-title"
              value={title}
              onInput={(event) => {
                title.value = event.currentTarget.value;
              }}
            />
          )}
        </Field>
        <FailureText failure={failure.value} />
        <footer class="dialog-foot">
          <button type="submit" class="button button-primary" data-testid="submit-paper" disabled={busy}>
            {text.common.add}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
