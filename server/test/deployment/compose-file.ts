import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";

/** docker-compose.yml, with its anchors followed and its variables as they are written. */

export const ROOT = new URL("../../../", import.meta.url);

const Variables = z.record(z.string(), z.union([z.string(), z.number()]).transform(String));
const Service = z.object({
  image: z.string(),
  build: z.string().optional(),
  restart: z.string(),
  read_only: z.boolean(),
  cap_drop: z.array(z.string()),
  cap_add: z.array(z.string()).default([]),
  security_opt: z.array(z.string()),
  user: z.string().optional(),
  environment: Variables.default({}),
  labels: Variables.default({}),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  tmpfs: z.array(z.string()).default([]),
  networks: z.array(z.string()).default([]),
  network_mode: z.string().optional(),
  stop_grace_period: z.string().optional(),
  command: z.array(z.string()).default([]),
  entrypoint: z.array(z.string()).default([]),
  healthcheck: z
    .union([
      z.strictObject({ disable: z.literal(true) }),
      z.looseObject({ test: z.array(z.string()), interval: z.string(), retries: z.number() }),
    ])
    .optional(),
  deploy: z.object({
    replicas: z.number().default(1),
    resources: z.object({ limits: z.object({ cpus: z.string(), memory: z.string() }) }),
  }),
});
export type Service = z.output<typeof Service>;

const Network = z
  .object({
    name: z.string().optional(),
    internal: z.boolean().default(false),
    ipam: z.object({ config: z.array(z.object({ subnet: z.string() })) }).optional(),
  })
  .nullable()
  .transform((network) => network ?? { internal: false });

const Compose = z.object({
  name: z.string(),
  services: z.record(z.string(), Service),
  networks: z.record(z.string(), Network),
  volumes: z.record(z.string(), z.null()),
});

export const readText = (path: string): string => readFileSync(new URL(path, ROOT), "utf8");

export const composeText = readText("docker-compose.yml");
const file = Compose.parse(parse(composeText, { merge: true }));
export const { services, networks, volumes } = file;

export function service(name: string): Service {
  const found = services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

/** One `${...}` of the file. `required` stops Compose when it is not set. */
export interface Variable {
  readonly name: string;
  readonly required: boolean;
  readonly fallback?: string;
}

const VARIABLE = /(?<!\$)\$\{(?<name>\w+)(?::(?<kind>[?-])(?<rest>[^}]*))?\}/g;

export function variablesOf(text: string): Variable[] {
  return Array.from(text.matchAll(VARIABLE), ({ groups }) => ({
    name: groups?.["name"] ?? "",
    required: groups?.["kind"] === "?",
    ...(groups?.["kind"] === "-" ? { fallback: groups["rest"] ?? "" } : {}),
  }));
}

/** The text with its variables set, and the doubled dollars of Compose undoubled. */
export function interpolate(text: string, set: Readonly<Record<string, string>>): string {
  let result = text;
  for (const [whole, name = "", kind, rest = ""] of text.matchAll(VARIABLE)) {
    result = result.replace(whole, () => set[name] ?? (kind === "-" ? rest : ""));
  }
  return result.replaceAll("$$", "$");
}
