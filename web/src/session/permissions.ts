import type { ProjectRole } from "@scriptorium/shared";

/** What the client offers to a role. The server's policy decides; this only spares people buttons that it would refuse. */
export const mayEdit = (role: ProjectRole): boolean => role === "owner" || role === "editor";
export const mayManage = (role: ProjectRole): boolean => role === "owner";
