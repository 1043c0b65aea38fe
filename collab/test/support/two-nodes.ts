import { saved, until, type ProviderClient, type YjsClient } from "./harness.ts";
import type { Nodes } from "./nodes.ts";

export type Client = ProviderClient | YjsClient;

/** Two people on two nodes who see each other's text. */
export async function opened(nodes: Nodes): Promise<{ ada: ProviderClient; bo: ProviderClient }> {
  const ada = nodes.node(0).provider("ada");
  const bo = nodes.node(1).provider("bo");
  await Promise.all([saved(ada), saved(bo)]);
  await shared(nodes, 2);
  return { ada, bo };
}

/** The nodes know that they have the document in common. */
export async function shared(nodes: Nodes, count = nodes.all.length): Promise<void> {
  const some = nodes.all.slice(0, count);
  await until(
    () => some.every(({ harness }) => harness.collab.stats().cluster?.shared === 1),
    "the document is shared",
  );
}

export async function equal(text: string, ...clients: readonly Client[]): Promise<void> {
  await until(() => clients.every((client) => client.text.toJSON() === text), `everybody reads "${text}"`);
}
