import { Compass } from "lucide";
import { useEffect } from "preact/hooks";
import type { User } from "@scriptorium/shared";
import { assertNever } from "@scriptorium/shared";
import { messages } from "./i18n/messages.ts";
import { navigate, paths, route } from "./router.ts";
import { Account } from "./screens/account.tsx";
import { Paper } from "./screens/paper.tsx";
import { Project } from "./screens/project.tsx";
import { Projects } from "./screens/projects.tsx";
import { Shell } from "./screens/shell.tsx";
import { SignIn } from "./screens/sign-in.tsx";
import { user } from "./session/session.ts";
import { Empty } from "./ui/states.tsx";
import { Toasts } from "./ui/toast.tsx";

export function App() {
  const who = user.value;
  return (
    <>
      {who === null ? <SignedOut /> : <Screen key={who.id} user={who} />}
      <Toasts />
    </>
  );
}

/** The address stays as it is: whoever followed a link is there after signing in. */
function SignedOut() {
  return <SignIn mode={route.value.at === "register" ? "register" : "sign-in"} />;
}

function Screen({ user: who }: { readonly user: User }) {
  const at = route.value;
  switch (at.at) {
    case "sign-in":
    case "register":
      return <ToProjects />;
    case "projects":
      return <Projects user={who} />;
    case "project":
      return <Project key={at.projectId} user={who} projectId={at.projectId} />;
    case "paper":
      return <Paper key={at.paperId} user={who} paperId={at.paperId} />;
    case "account":
      return <Account user={who} />;
    case "lost":
      return <Lost user={who} />;
    default:
      return assertNever(at);
  }
}

function ToProjects() {
  useEffect(() => navigate(paths.projects, { replace: true }), []);
  return null;
}

function Lost({ user: who }: { readonly user: User }) {
  const text = messages.value.lost;
  return (
    <Shell user={who} title={text.title}>
      <div class="page">
        <h1 class="visually-hidden">{text.title}</h1>
        <Empty icon={Compass} title={text.title} body={text.body}>
          <a class="button" href={paths.projects}>
            {text.home}
          </a>
        </Empty>
      </div>
    </Shell>
  );
}
