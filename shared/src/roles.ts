/** Project roles, strongest first. What each may do is decided by the server's policy file alone. */
export const PROJECT_ROLES = ["owner", "editor", "commenter", "viewer"] as const;
export type ProjectRole = (typeof PROJECT_ROLES)[number];
