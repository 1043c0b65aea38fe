import { useSignal } from "@preact/signals";
import { FolderOpen, Plus } from "lucide";
import type { Page, Project, User } from "@scriptorium/shared";
import { api } from "../api/client.ts";
import { useAction, useResource, type Loaded } from "../api/resource.ts";
import { messages, timeAgo } from "../i18n/messages.ts";
import { navigate, paths } from "../router.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { More } from "../ui/more.tsx";
import { RoleChip } from "../ui/role-chip.tsx";
import { Empty, Failed, Skeleton } from "../ui/states.tsx";
import { ProjectForm } from "./project-form.tsx";
import { Shell } from "./shell.tsx";

export function Projects({ user }: { readonly user: User }) {
  const text = messages.value;
  const projects = useResource("projects", () => api.projects(null));
  const creating = useSignal(false);
  const { busy, failure, run } = useAction();
  const create = (body: { name: string; description: string }) =>
    run(async () => navigate(paths.project((await api.createProject(body)).id)));
  return (
    <Shell user={user} title={text.projects.title}>
      <div class="page">
        <header class="page-head">
          <h1>{text.projects.title}</h1>
          <button
            type="button"
            class="button button-primary"
            data-testid="new-project"
            onClick={() => {
              creating.value = true;
            }}
          >
            <Icon node={Plus} />
            {text.projects.create}
          </button>
        </header>
        <ProjectCards projects={projects} />
        {creating.value && (
          <Dialog
            title={text.projects.create}
            onClose={() => {
              creating.value = false;
            }}
          >
            <ProjectForm
              action={text.common.create}
              busy={busy.value}
              failure={failure.value}
              initial={{ name: "", description: "" }}
              onSubmit={create}
            />
          </Dialog>
        )}
      </div>
    </Shell>
  );
}

function ProjectCards({ projects }: { readonly projects: Loaded<Page<Project>> }) {
  const text = messages.value;
  const state = projects.state.value;
  if (state.at === "loading") return <Skeleton lines={6} />;
  if (state.at === "failed") return <Failed failure={state.failure} onRetry={projects.reload} />;
  if (state.value.items.length === 0) {
    return <Empty icon={FolderOpen} title={text.projects.emptyTitle} body={text.projects.emptyBody} />;
  }
  return (
    <>
      <ul class="cards">
        {state.value.items.map((project) => (
          <li key={project.id}>
            <a class="card" href={paths.project(project.id)} data-testid="project-card" data-id={project.id}>
              <h2>{project.name}</h2>
              <p class="card-text">{project.description}</p>
              <footer>
                <RoleChip role={project.role} />
                <time dateTime={project.updatedAt}>{timeAgo(project.updatedAt)}</time>
              </footer>
            </a>
          </li>
        ))}
      </ul>
      <More page={state.value} load={api.projects} onPage={projects.set} />
    </>
  );
}
