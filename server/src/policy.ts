import { assertNever, Failure, type DocumentKind, type ProjectRole } from "@scriptorium/shared";

/**
 * Who may do what in a project: the only place that says so. REST and the document sockets both ask here. Someone who
 * is not a member may do nothing and is told `not_found`, so that ids cannot be probed.
 */
const POLICY = {
  "project.read": {
    says: "Every member sees the project, its members and its papers.",
    roles: ["owner", "editor", "commenter", "viewer"],
  },
  "project.edit": { says: "Owners and editors rename and describe the project.", roles: ["owner", "editor"] },
  "project.delete": { says: "Owners delete the project.", roles: ["owner"] },
  "members.manage": { says: "Owners add people, change roles and remove people.", roles: ["owner"] },
  "members.leave": {
    says: "Every member may leave; the last owner may not.",
    roles: ["owner", "editor", "commenter", "viewer"],
  },
  "papers.write": {
    says: "Owners and editors create, change and delete papers.",
    roles: ["owner", "editor"],
  },
  "documents.read": {
    says: "Every member reads the notes, the brief and the board.",
    roles: ["owner", "editor", "commenter", "viewer"],
  },
  "documents.write": { says: "Owners and editors write in them.", roles: ["owner", "editor"] },
} as const satisfies Record<string, { says: string; roles: readonly ProjectRole[] }>;

export type Action = keyof typeof POLICY;

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- keys of a literal
export const ACTIONS = Object.keys(POLICY) as Action[];

export function may(role: ProjectRole | undefined, action: Action): boolean {
  const roles: readonly ProjectRole[] = POLICY[action].roles;
  return role !== undefined && roles.includes(role);
}

/** Returns when the role may do it; else throws `not_found` (not a member) or `forbidden`, with the rule as detail. */
export function demand(role: ProjectRole | undefined, action: Action): asserts role is ProjectRole {
  if (role === undefined) throw new Failure("not_found");
  if (!may(role, action)) throw new Failure("forbidden", POLICY[action].says);
}

/** What a role may do with a live document. All kinds follow the same rule today. */
export function documentPermission(
  role: ProjectRole | undefined,
  kind: DocumentKind,
): "write" | "read" | "none" {
  switch (kind) {
    case "notes":
    case "brief":
    case "board":
      if (may(role, "documents.write")) return "write";
      return may(role, "documents.read") ? "read" : "none";
    default:
      return assertNever(kind);
  }
}
