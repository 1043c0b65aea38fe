import type { Bus } from "@scriptorium/shared";

/** Where there is no bus: nothing passes, ever, and everything is found in the store. */
export function createNoBus(): Bus {
  const none = { published: 0, publishedBytes: 0, received: 0, receivedBytes: 0, dropped: 0, refused: 0 };
  return {
    state: "down",
    publish: () => undefined,
    subscribe: () => ({ active: Promise.resolve(false), end: () => undefined }),
    whenChanged: () => () => undefined,
    stats: () => none,
    close: async () => undefined,
  };
}
