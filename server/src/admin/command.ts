import { parseArgs, type ParseArgsConfig } from "node:util";

export type Command =
  | { readonly name: "help" }
  | { readonly name: "backup" | "check"; readonly file: string }
  | { readonly name: "restore"; readonly file: string; readonly signEveryoneOut: boolean }
  | { readonly name: "move"; /** Without it, the variable MOVE_TO says it. */ readonly to?: string };

export const HELP = `npm run admin -- <command>

  backup <file>                    writes everything to a new file, while servers work
  check <file>                     reads a backup and says what is in it
  restore <file>                   fills an empty DATA_DIR, or an empty database at MONGODB_URL
    --sign-everyone-out            without sessions and keys: everybody signs in again
  move --to <mongodb url>          takes the installation in DATA_DIR to an empty database; without --to to the one that
                                   the variable MOVE_TO names, which no list of processes shows

DATA_DIR and MONGODB_URL are those of the server, from the environment or from .env. More: docs/operations.md
`;

/** Not understood; the help goes with it. */
export class Usage extends Error {
  override readonly name = "Usage";
}

export function readCommand(args: readonly string[]): Command {
  const [name = "help", ...rest] = args;
  switch (name) {
    case "help":
    case "--help":
    case "-h":
      return { name: "help" };
    case "backup":
    case "check":
      return { name, file: fileIn(parse(rest, {}).positionals, name) };
    case "restore": {
      const { values, positionals } = parse(rest, { "sign-everyone-out": { type: "boolean" } });
      return { name, file: fileIn(positionals, name), signEveryoneOut: values["sign-everyone-out"] === true };
    }
    case "move": {
      const { values, positionals } = parse(rest, { to: { type: "string" } });
      if (positionals.length > 0) throw new Usage("move takes nothing but --to");
      const { to } = values;
      return typeof to === "string" ? { name, to: mongoAddress(to, "--to") } : { name };
    }
    default:
      throw new Usage(`there is no command ${name}`);
  }
}

/** `by` is where it was said. Without the address in the message: there may be a password in it. */
export function mongoAddress(address: string | undefined, by: string): string {
  if (address !== undefined && /^mongodb(\+srv)?:\/\/./.test(address)) return address;
  throw new Usage(`${by} must be mongodb://host/database`);
}

function parse(args: string[], options: NonNullable<ParseArgsConfig["options"]>) {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new Usage(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function fileIn(positionals: readonly string[], command: string): string {
  const [file, ...more] = positionals;
  if (file === undefined || file === "" || more.length > 0)
    throw new Usage(`${command} needs the name of a file`);
  return file;
}
