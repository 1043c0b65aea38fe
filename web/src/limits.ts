import type { LIMITS as shared } from "@scriptorium/shared";

/**
 * The limits of the REST bodies. Their home is shared/; importing the value would put zod into the bundle (the schemas
 * stand in the same module), so it is repeated here under its literal type: a number that differs does not compile.
 */
export const LIMITS: typeof shared = {
  usernameChars: { min: 2, max: 32 },
  displayNameChars: 64,
  passwordChars: { min: 10, max: 256 },
  projectNameChars: 64,
  descriptionChars: 2_000,
  fieldChars: 255,
  abstractChars: 20_000,
  listItems: 100,
  listItemChars: 100,
  pageSize: { default: 20, max: 100 },
};
