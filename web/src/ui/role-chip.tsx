import type { ProjectRole } from "@scriptorium/shared";
import { messages } from "../i18n/messages.ts";

export function RoleChip({ role }: { readonly role: ProjectRole }) {
  return <span class={`chip chip-${role}`}>{messages.value.members.roles[role]}</span>;
}
