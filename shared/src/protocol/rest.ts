import { z } from "zod";
import { DOCUMENT_KINDS } from "../documents.ts";
import { PROJECT_ROLES } from "../roles.ts";

/** Bodies of `/api/v1`. Ids are 26-character strings (ids.ts), times ISO-8601 UTC. */

export const LIMITS = {
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
} as const;

const Id = z.string().regex(/^[0-9A-HJKMNP-TV-Z]{26}$/, "an id of 26 characters");
const Time = z.iso.datetime();
const shortText = z.string().trim().max(LIMITS.fieldChars);
const textList = z.array(z.string().trim().min(1).max(LIMITS.listItemChars)).max(LIMITS.listItems);

/**
 * NFKC; letters with their marks (Hindi and Thai vowels are marks), digits, `_` and `-` of any script. Unique without
 * regard to case.
 */
export const Username = z
  .string()
  .transform((value) => value.normalize("NFKC").trim())
  .pipe(
    z
      .string()
      .min(LIMITS.usernameChars.min)
      .max(LIMITS.usernameChars.max)
      .regex(/^[\p{L}\p{N}_-][\p{L}\p{M}\p{N}_-]*$/u, "letters, digits, _ and - only"),
  );
/** What others see at carets and in lists: something visible, and nothing that breaks or turns round the text beside it. */
const DisplayName = z
  .string()
  .trim()
  .min(1)
  .max(LIMITS.displayNameChars)
  .regex(/^[^\p{Cc}\p{Cs}\u202A-\u202E\u2066-\u2069]*$/u, "no control characters")
  .regex(/[\p{L}\p{N}\p{P}\p{S}]/u, "at least one visible character");
const Password = z.string().min(LIMITS.passwordChars.min).max(LIMITS.passwordChars.max);

export const User = z.object({
  id: Id,
  username: z.string(),
  displayName: z.string(),
  /** A CSS colour chosen by the server from the id; carets and avatars use it. */
  color: z.string(),
  admin: z.boolean(),
  createdAt: Time,
});
export type User = z.infer<typeof User>;

export const RegisterBody = z.strictObject({ username: Username, password: Password });
export const LoginBody = z.strictObject({
  username: z.string().max(200),
  password: z.string().max(LIMITS.passwordChars.max),
});
export const RefreshBody = z.strictObject({ refreshToken: z.string().max(200) });
export const TokenPair = z.object({
  user: User,
  accessToken: z.string(),
  refreshToken: z.string(),
  /** Seconds until the access token expires. */
  expiresIn: z.number().int().positive(),
});
export type TokenPair = z.infer<typeof TokenPair>;

export const Session = z.object({
  id: Id,
  device: z.string(),
  ip: z.string(),
  createdAt: Time,
  lastSeenAt: Time,
  current: z.boolean(),
});
export type Session = z.infer<typeof Session>;

export const PatchMeBody = z.strictObject({
  username: Username.optional(),
  displayName: DisplayName.optional(),
  /** Required with newPassword, and with username: credentials change only with the old password. */
  oldPassword: z.string().max(LIMITS.passwordChars.max).optional(),
  newPassword: Password.optional(),
});

export type PatchMe = z.infer<typeof PatchMeBody>;

export const Role = z.enum(PROJECT_ROLES);

export const Project = z.object({
  id: Id,
  name: z.string(),
  description: z.string(),
  /** What the asking person is in this project. */
  role: Role,
  createdAt: Time,
  updatedAt: Time,
});
export type Project = z.infer<typeof Project>;

const projectName = z.string().trim().min(1).max(LIMITS.projectNameChars);
const description = z.string().trim().max(LIMITS.descriptionChars);
export const CreateProjectBody = z.strictObject({ name: projectName, description: description.default("") });
export const PatchProjectBody = z.strictObject({
  name: projectName.optional(),
  description: description.optional(),
});

export type PatchProject = z.infer<typeof PatchProjectBody>;

export const Member = z.object({
  userId: Id,
  username: z.string(),
  displayName: z.string(),
  color: z.string(),
  role: Role,
  joinedAt: Time,
});
export type Member = z.infer<typeof Member>;
export const AddMemberBody = z
  .strictObject({ userId: Id.optional(), username: z.string().max(200).optional(), role: Role })
  .refine((body) => (body.userId === undefined) !== (body.username === undefined), {
    message: "exactly one of userId and username",
  });
export const PatchMemberBody = z.strictObject({ role: Role });

/** The full field set of a paper. `publicationYear` 0 means unknown; `publication` is the journal, `event` the conference. */
const paperFields = {
  title: z.string().trim().min(1).max(LIMITS.fieldChars),
  abstract: z.string().trim().max(LIMITS.abstractChars),
  keywords: textList,
  authors: textList,
  tags: textList,
  publicationYear: z.number().int().min(0).max(3000),
  publication: shortText,
  event: shortText,
  volume: shortText,
  issue: shortText,
  pages: shortText,
  url: z.union([z.literal(""), z.url({ protocol: /^https?$/ }).max(2_000)]),
  doi: z.union([
    z.literal(""),
    z
      .string()
      .trim()
      .max(LIMITS.fieldChars)
      .regex(/^10\.\d{4,9}\/\S+$/, "a DOI such as 10.1000/182"),
  ]),
};

export const Paper = z.object({
  id: Id,
  projectId: Id,
  ...paperFields,
  createdAt: Time,
  updatedAt: Time,
});
export type Paper = z.infer<typeof Paper>;
export const CreatePaperBody = z.strictObject({
  ...z.object(paperFields).partial().shape,
  title: paperFields.title,
});
export type CreatePaperBody = z.infer<typeof CreatePaperBody>;
export const PatchPaperBody = z.strictObject(z.object(paperFields).partial().shape);
export type PatchPaperBody = z.infer<typeof PatchPaperBody>;

/** `limit` 1-100 (default 20) and the opaque `cursor` of the page before. */
export const ListQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(LIMITS.pageSize.max).default(LIMITS.pageSize.default),
  cursor: z.string().min(1).max(200).optional(),
});
/** A page of a list; `nextCursor` is null on the last one. */
export interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}

/** What a client needs to open a WebSocket for a y-websocket provider: a single-use ticket, valid for 60 s. */
export const SocketTicket = z.object({ ticket: z.string(), expiresIn: z.number().int().positive() });
export const DocumentKindParam = z.enum(DOCUMENT_KINDS);

/** RFC 9457 problem document. `code` is a key of FAILURES. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  code: z.string(),
  detail: z.string().optional(),
  /** For bad_request: which field, and what is wrong with it. */
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  requestId: z.string().optional(),
});
export type Problem = z.infer<typeof Problem>;
