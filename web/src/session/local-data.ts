/** What this device keeps of a person's work: one IndexedDB database per document, and how many edits wait in each. */

const PREFIX = "scriptorium";

export function databaseName(userId: string, document: string): string {
  return `${PREFIX}:${userId}:${document}`;
}

const unsentKey = (userId: string, document: string) => `${PREFIX}.unsent:${userId}:${document}`;

/** Edits of a document that this device holds and the server has not acknowledged, as last noted by any tab. */
export function unsentEdits(userId: string, document: string): number {
  return Number(localStorage.getItem(unsentKey(userId, document)) ?? 0);
}

export function noteUnsentEdits(userId: string, document: string, edits: number): void {
  if (edits > 0) localStorage.setItem(unsentKey(userId, document), String(edits));
  else localStorage.removeItem(unsentKey(userId, document));
}

function unsentKeys(userId: string): string[] {
  return Object.keys(localStorage).filter((key) => key.startsWith(unsentKey(userId, "")));
}

export function allUnsentEdits(userId: string): number {
  return unsentKeys(userId).reduce((sum, key) => sum + Number(localStorage.getItem(key)), 0);
}

/** Resolves when the database is gone, or as soon as another tab keeps it open (it goes when that tab lets go). */
function deleteDatabase(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.addEventListener("success", () => resolve());
    request.addEventListener("blocked", () => resolve());
    request.addEventListener("error", () =>
      reject(request.error ?? new Error("the database could not be deleted")),
    );
  });
}

/** Deletes every local copy of this person's documents. For log-out: lab computers are shared. */
export async function wipeLocalData(userId: string): Promise<void> {
  for (const key of unsentKeys(userId)) localStorage.removeItem(key);
  const databases = await indexedDB.databases();
  const names = databases.map((database) => database.name ?? "");
  await Promise.all(names.filter((name) => name.startsWith(databaseName(userId, ""))).map(deleteDatabase));
}
