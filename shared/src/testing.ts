export { memoryStreams } from "./testing/memory-streams.ts";
