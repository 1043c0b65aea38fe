export { busContract } from "./testing/bus-contract.ts";
export type { BusNetwork } from "./testing/bus-contract.ts";
export { createMemoryHub, seededFates } from "./testing/memory-bus.ts";
export type { FaultChances, Fate, MemoryHub, MemoryHubDeps } from "./testing/memory-bus.ts";
export { memoryStreams } from "./testing/memory-streams.ts";
export type { Opened } from "./testing/opened.ts";
export { streamsContract } from "./testing/streams-contract.ts";
