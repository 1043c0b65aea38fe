export { compose } from "./compose.ts";
export type { App, ComposeDeps } from "./compose.ts";
export { ConfigError, readConfig } from "./config.ts";
export type { Config } from "./config.ts";
