export type {
  AttachOptions,
  Pty,
  PtyEvents,
  PtyExit,
  PtyGuarantees,
  PtyLimits,
  PtyListing,
  PtyRuntime,
  PtySpec,
  PtyStarted,
  TerminalSize,
} from "./ports.ts";
