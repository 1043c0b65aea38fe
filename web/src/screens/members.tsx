import { useSignal } from "@preact/signals";
import { UserPlus, X } from "lucide";
import {
  PROJECT_ROLES,
  type Member,
  type Page,
  type Project,
  type ProjectRole,
  type User,
} from "@scriptorium/shared";
import { api } from "../api/client.ts";
import { useAction, useResource } from "../api/resource.ts";
import { messages } from "../i18n/messages.ts";
import { mayManage } from "../session/permissions.ts";
import { Avatar } from "../ui/avatar.tsx";
import { Confirm, Dialog } from "../ui/dialog.tsx";
import { Field } from "../ui/field.tsx";
import { Icon } from "../ui/icon.tsx";
import { More } from "../ui/more.tsx";
import { Failed, FailureText, Skeleton } from "../ui/states.tsx";
import { say } from "../ui/toast.tsx";

interface MembersProps {
  readonly user: User;
  readonly project: Project;
}

export function Members({ user, project }: MembersProps) {
  const text = messages.value;
  const members = useResource(project.id, () => api.members(project.id, null));
  const adding = useSignal(false);
  const state = members.state.value;
  const change = (items: Member[], page: Page<Member>) => members.set({ ...page, items });
  return (
    <section class="panel" aria-labelledby="members-title">
      <header class="section-head">
        <h2 id="members-title">{text.project.members}</h2>
        {mayManage(project.role) && (
          <button
            type="button"
            class="button-icon"
            aria-label={text.members.add}
            data-testid="add-member"
            onClick={() => {
              adding.value = true;
            }}
          >
            <Icon node={UserPlus} />
          </button>
        )}
      </header>
      {state.at === "loading" && <Skeleton lines={2} />}
      {state.at === "failed" && <Failed failure={state.failure} onRetry={members.reload} />}
      {state.at === "ready" && (
        <>
          <ul class="members">
            {state.value.items.map((member) => (
              <MemberRow
                key={member.userId}
                member={member}
                user={user}
                project={project}
                onChange={(next) => {
                  const items = state.value.items.map((known) =>
                    known.userId === next.userId ? next : known,
                  );
                  change(items, state.value);
                }}
                onRemove={() => {
                  const items = state.value.items.filter((known) => known.userId !== member.userId);
                  change(items, state.value);
                }}
              />
            ))}
          </ul>
          <More page={state.value} load={(cursor) => api.members(project.id, cursor)} onPage={members.set} />
          {adding.value && (
            <AddMember
              projectId={project.id}
              onAdded={(member) => change([...state.value.items, member], state.value)}
              onClose={() => {
                adding.value = false;
              }}
            />
          )}
        </>
      )}
    </section>
  );
}

interface MemberRowProps extends MembersProps {
  readonly member: Member;
  readonly onChange: (member: Member) => void;
  readonly onRemove: () => void;
}

function MemberRow({ member, user, project, onChange, onRemove }: MemberRowProps) {
  const text = messages.value;
  const { busy, failure, run } = useAction();
  const removing = useSignal(false);
  const own = member.userId === user.id;
  const manages = mayManage(project.role) && !own;
  const chooseRole = (role: ProjectRole) =>
    run(async () => onChange(await api.changeRole(project.id, member.userId, role)));
  const remove = async () => {
    const gone = await run(() => api.removeMember(project.id, member.userId));
    if (gone) onRemove();
  };
  return (
    <li class="member" data-testid="member" data-user={member.userId}>
      <Avatar person={{ id: member.userId, name: member.displayName, color: member.color }} size={34} />
      <span class="member-names">
        <span class="member-name">
          {member.displayName}
          {own && <span class="muted"> ({text.members.you})</span>}
        </span>
        <span class="muted small">@{member.username}</span>
      </span>
      {manages ? (
        <>
          <RoleSelect
            label={text.members.roleOf(member.displayName)}
            value={member.role}
            disabled={busy.value}
            onChoose={(role) => void chooseRole(role)}
          />
          <button
            type="button"
            class="button-icon"
            aria-label={text.common.remove(member.displayName)}
            data-testid="remove-member"
            onClick={() => {
              removing.value = true;
            }}
          >
            <Icon node={X} size={16} />
          </button>
        </>
      ) : (
        <span class="member-role">{text.members.roles[member.role]}</span>
      )}
      {!removing.value && <FailureText failure={failure.value} />}
      {removing.value && (
        <Confirm
          title={text.members.removeTitle(member.displayName)}
          body={text.members.removeBody}
          action={text.common.remove(member.displayName)}
          busy={busy.value}
          error={failure.value === null ? undefined : text.failure[failure.value.code]}
          onConfirm={() => void remove()}
          onClose={() => {
            removing.value = false;
          }}
        />
      )}
    </li>
  );
}

interface RoleSelectProps {
  readonly id?: string;
  readonly label?: string;
  readonly value: ProjectRole;
  readonly disabled: boolean;
  readonly onChoose: (role: ProjectRole) => void;
}

function RoleSelect({ id, label, value, disabled, onChoose }: RoleSelectProps) {
  const text = messages.value.members;
  return (
    <select
      id={id}
      class="input select"
      aria-label={label}
      data-testid="role"
      value={value}
      disabled={disabled}
      onChange={(event) => {
        const chosen = PROJECT_ROLES.find((role) => role === event.currentTarget.value);
        if (chosen !== undefined) onChoose(chosen);
      }}
    >
      {PROJECT_ROLES.map((role) => (
        <option key={role} value={role} selected={role === value}>
          {text.roles[role]}
        </option>
      ))}
    </select>
  );
}

interface AddMemberProps {
  readonly projectId: string;
  readonly onAdded: (member: Member) => void;
  readonly onClose: () => void;
}

function AddMember({ projectId, onAdded, onClose }: AddMemberProps) {
  const text = messages.value;
  const username = useSignal("");
  const role = useSignal<ProjectRole>("editor");
  const tried = useSignal(false);
  const { busy, failure, run } = useAction();
  const empty = username.value.trim() === "";
  const unknown = failure.value?.code === "not_found";
  const error = tried.value && empty ? text.auth.usernameEmpty : unknown ? text.members.notFound : undefined;
  const submit = async (event: Event) => {
    event.preventDefault();
    tried.value = true;
    if (empty) return;
    const added = await run(async () => {
      const member = await api.addMember(projectId, { username: username.value.trim(), role: role.value });
      onAdded(member);
      say(`${member.displayName}: ${text.members.roles[member.role]}`);
    });
    if (added) onClose();
  };
  return (
    <Dialog title={text.members.add} onClose={onClose}>
      <form class="stack" noValidate onSubmit={(event) => void submit(event)}>
        <Field label={text.members.username} error={error}>
          {(control) => (
            <input
              {...control}
              class="input"
              autofocus
              autocomplete="off"
              autocapitalize="none"
              spellcheck={false}
              data-testid="member-username"
              value={username}
              onInput={(event) => {
                username.value = event.currentTarget.value;
              }}
            />
          )}
        </Field>
        <Field label={text.members.role} hint={text.members.roleHints[role.value]}>
          {(control) => (
            <RoleSelect
              id={control.id}
              value={role.value}
              disabled={false}
              onChoose={(chosen) => {
                role.value = chosen;
              }}
            />
          )}
        </Field>
        {!unknown && <FailureText failure={failure.value} />}
        <footer class="dialog-foot">
          <button type="submit" class="button button-primary" data-testid="submit-member" disabled={busy}>
            {text.common.add}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
