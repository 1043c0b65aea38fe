import { z } from "zod";

export const CONTROL_STREAM = "control";

/** What all nodes have to act on: where to look again. That it happened is in the store before the event is. */
export const ControlEvent = z.discriminatedUnion("type", [
  /** Its tokens and sockets are to be refused. */
  z.object({ type: z.literal("session-ended"), sessionId: z.string() }),
  /** Somebody's role in a project has changed or ended. */
  z.object({ type: z.literal("user-changed"), userId: z.string() }),
  /** Removed, or replaced by another lineage. */
  z.object({ type: z.literal("document-ended"), document: z.string() }),
]);
export type ControlEvent = Readonly<z.infer<typeof ControlEvent>>;

export interface Announcement {
  /** Names the change that they follow from: announcing the same change again adds nothing. */
  readonly op: string;
  readonly events: readonly ControlEvent[];
}

/** What is done about it on this node. */
export interface ControlEffects {
  act(event: ControlEvent): Promise<void>;
  /** Events may have passed unseen: everything that is open is looked at again. */
  actOnAll(): Promise<void>;
}

/** How a change becomes known to every node. */
export interface Control {
  /**
   * Acts on the events here and has them acted on at every other node: resolves when this is certain. To be called
   * after the change is in the store. When it rejects, the change stands, this node has acted and goes on trying to
   * tell the others; whoever repeats the change must announce it again.
   */
  announce(announcement: Announcement): Promise<void>;
  /** From now on the effects are called. Rejects when the store cannot be asked. */
  start(effects: ControlEffects): Promise<void>;
  stop(): Promise<void>;
  stats(): object;
}

export interface ControlLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** For a node that is alone on its store: nobody is to be told, so nothing is written. */
export function createLocalControl({ log }: { log: ControlLog }): Control {
  let effects: ControlEffects | undefined;
  return {
    async announce({ events }) {
      for (const event of events) {
        try {
          await effects?.act(event);
        } catch (error) {
          // The change stands whatever becomes of the sockets; they ask again when their token ends.
          log.error({ err: error, ...event }, "an event could not be acted on");
        }
      }
    },
    async start(given) {
      effects = given;
    },
    stop: async () => undefined,
    stats: () => ({}),
  };
}
