/** The fields that were sent. What was not sent must not reach the store, where it would blank what is there. */
export function sent<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- fromEntries forgets the keys
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
