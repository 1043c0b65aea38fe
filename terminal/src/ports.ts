/**
 * What the terminal room will need from whatever runs the shells: the agent in a container, `docker attach`, or the
 * machine's own pseudo-terminals. Declared before anything is built on it; the reasons are in SPEC.md.
 *
 * Output is addressed by offset: the count of bytes that the terminal has printed since its start, which no reconnect,
 * no gateway and no suspension resets. Offsets are numbers; 2^53 bytes are 9 PB. Bytes are raw, never text: JSON and
 * UTF-8 cannot hold what a terminal prints, and a read may end in the middle of a character.
 */
export interface PtyRuntime {
  /** What its sessions can promise; the same for all of them and for ever. */
  readonly guarantees: PtyGuarantees;
  /**
   * Brings the session to running: makes it, starts it again after a stop, or wakes it. Does nothing to one that runs, so
   * a retry is safe. Resolves when it can be attached to; a session that was made anew begins at offset 0.
   * Throws Failure `overloaded` when the machine has no room for one more.
   */
  start(sessionId: string, spec: PtySpec): Promise<PtyStarted>;
  /**
   * Follows the output from the offset on. Any number of readers may follow one session; each has its own position and
   * window, and one that stands still delays nobody but, when it is the pacer, the shell itself.
   * Throws Failure `not_found` when no such session runs.
   */
  attach(sessionId: string, options: AttachOptions): Promise<Pty>;
  /** Stops the clock of all its processes; memory stays. Input and output wait. `unsupported` changes nothing. */
  suspend(sessionId: string): Promise<"suspended" | "unsupported">;
  /**
   * Ends all processes: the signal a closing window would send, then, after graceMs, one that cannot be caught. The home
   * volume stays. Never waits for a reader. Does nothing to a session that has ended.
   */
  end(sessionId: string, graceMs: number): Promise<void>;
  /** Every session that exists now, also those that an earlier process of ours made: how a gateway finds its own again. */
  list(): Promise<PtyListing[]>;
}

export interface PtyGuarantees {
  /** Output keeps its offsets when the process that reads it dies. Without it every restart is a gap. */
  readonly survivesGateway: boolean;
  /** Input that is sent again after a lost connection is typed once. */
  readonly inputOnce: boolean;
  /** The shell is held back from the rest of the machine; where it is not, the user must be trusted like the machine's own. */
  readonly isolated: boolean;
}

export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/** What a template and its user make of a session. Fixed at its first start. */
export interface PtySpec {
  readonly image: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Set before the shell is started, so that its first prompt is drawn right. */
  readonly size: TerminalSize;
  /** Names the volume that is mounted as the home directory and outlives the session. */
  readonly home: string;
  readonly network: "none" | "internal";
  readonly limits: PtyLimits;
}

export interface PtyLimits {
  /** Memory and swap together; beyond, the kernel ends the process and PtyExit says so. */
  readonly memoryBytes: number;
  /** Share of the machine's cores: 0.5 is half of one. */
  readonly cpus: number;
  readonly processes: number;
  /** Temporary files; the root file system is read-only. */
  readonly scratchBytes: number;
  /** Output kept for readers that come back; older bytes are a gap to them. */
  readonly ringBytes: number;
}

export interface PtyStarted {
  /** Whether the shell is the one that ran before, or a fresh one that begins at offset 0. */
  readonly resumed: boolean;
}

export interface AttachOptions {
  /** The first byte wanted. One that is no longer kept is answered by onGap, then by what there is. */
  readonly fromOffset: number;
  /** Whether this reader sets the pace of the shell (the person who types) or only watches. */
  readonly pacer: boolean;
  /** Bytes that may be under way beyond what `consumed` said. Small: it is what a Ctrl-C has to wait for. */
  readonly windowBytes: number;
  readonly events: PtyEvents;
}

/** Calls come in the order of the stream, from within `attach` at the earliest, and never after onExit, onLost or `detach`. */
export interface PtyEvents {
  /** Each byte exactly once: offset is where the bytes begin and equals the end of what came before. */
  onOutput(offset: number, bytes: Uint8Array): void;
  /** Bytes from..to (exclusive) are not kept any more; output goes on at `to`. */
  onGap(from: number, to: number): void;
  /** All input up to this number has reached the terminal; it need not be sent again. */
  onInputTaken(seq: number): void;
  onExit(exit: PtyExit): void;
  /** The connection to the session broke, not the session: attach again at the offset that was reached. */
  onLost(cause: Error): void;
}

/** finalOffset is the length of the whole output: a reader that stands there has seen everything. */
export type PtyExit =
  | { readonly kind: "exited"; readonly code: number; readonly finalOffset: number }
  | { readonly kind: "signalled"; readonly signal: string; readonly finalOffset: number }
  | { readonly kind: "out-of-memory"; readonly finalOffset: number };

/** One reader's hold on a session. */
export interface Pty {
  /** Types the bytes. `seq` counts this session's inputs from 1; a number that was taken before is not typed again. */
  write(seq: number, bytes: Uint8Array): void;
  resize(size: TerminalSize): void;
  /** Everything before the offset was drawn or dropped: opens the window by as much. Never goes back. */
  consumed(offset: number): void;
  /** Lets go; the session runs on. No event comes after it. */
  detach(): void;
}

/** A session as `list` finds it. */
export interface PtyListing {
  readonly sessionId: string;
  readonly state: "running" | "suspended" | "ended";
  /** Unix milliseconds of its last start. */
  readonly startedAt: number;
}
