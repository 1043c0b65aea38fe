import { Failure, formatDocumentName, parseDocumentName, type DocumentName } from "@scriptorium/shared";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import * as Y from "yjs";
import { z } from "zod";
import type { Accounts } from "../../identity/accounts.ts";
import { callerOf, requireCaller } from "../caller.ts";
import { secured } from "../schemas.ts";

/** What these routes need from the collaboration room and the access rules. */
export interface DocumentRoutesDeps {
  readonly accounts: Accounts;
  readonly documents: { read(document: string): Promise<Uint8Array> };
  readonly access: {
    permission(
      who: { userId: string; sessionId: string },
      name: DocumentName,
    ): Promise<"write" | "read" | "none">;
  };
}

const UPDATE_TYPE = "application/octet-stream";
const MARKDOWN_TYPE = "text/markdown; charset=utf-8";
const JSON_TYPE = "application/json; charset=utf-8";
const Json = z.object({
  name: z.string(),
  md: z.string().optional(),
  meta: z.record(z.string(), z.unknown()).optional(),
  cards: z.record(z.string(), z.unknown()).optional(),
});
const read = secured({
  tags: ["documents"],
  summary: "The document as a Yjs update (default), as JSON or as Markdown",
  params: z.object({ name: z.string() }),
  querystring: z.strictObject({ format: z.enum(["update", "json", "markdown"]).default("update") }),
  response: {
    200: {
      description: "The document",
      content: {
        // JSON Schema has no bytes: described as a binary string, sent as they are.
        [UPDATE_TYPE]: { schema: z.any().meta({ type: "string", format: "binary" }) },
        "application/json": { schema: Json },
        "text/markdown": { schema: z.string() },
      },
    },
  },
});

export function documentRoutes({ accounts, access, documents }: DocumentRoutesDeps): FastifyPluginAsyncZod {
  return async (app) => {
    requireCaller(app, accounts);
    app.get("/documents/:name", read, async (request, reply) => {
      const name = parseDocumentName(request.params.name);
      if (name === undefined) throw new Failure("not_found");
      const { format } = request.query;
      if ((await access.permission(callerOf(request), name)) === "none") throw new Failure("not_found");
      if (format === "markdown" && name.kind === "board") {
        throw new Failure("bad_request", "A board has no Markdown form");
      }
      const update = await documents.read(request.params.name);
      // A string or bytes, sent as they are; the schemas above only describe them.
      const [type, body] = render({ name, update, format });
      return reply
        .header("content-type", type)
        .header("cache-control", "no-store")
        .serializer((payload: string) => payload)
        .send(body);
    });
  };
}

function render(document: {
  name: DocumentName;
  update: Uint8Array;
  format: "update" | "json" | "markdown";
}): [type: string, body: Buffer | string] {
  const { name, update, format } = document;
  if (format === "update") return [UPDATE_TYPE, Buffer.from(update)];
  const doc = new Y.Doc();
  Y.applyUpdate(doc, update);
  // oxlint-disable-next-line typescript/no-base-to-string -- Y.Text has a toString of its own; its types hide it
  const md = () => doc.getText("md").toString();
  if (format === "markdown") return [MARKDOWN_TYPE, md()];
  const content =
    name.kind === "board"
      ? { cards: doc.getMap("cards").toJSON() }
      : { md: md(), meta: doc.getMap("meta").toJSON() };
  return [JSON_TYPE, JSON.stringify({ name: formatDocumentName(name), ...content }, withoutBigInts)];
}

/** Yjs keeps any BigInt that a client puts into a map; JSON has none. */
function withoutBigInts(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
