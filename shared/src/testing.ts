export { memoryStreams } from "./testing/memory-streams.ts";
export type { Opened } from "./testing/opened.ts";
export { streamsContract } from "./testing/streams-contract.ts";
