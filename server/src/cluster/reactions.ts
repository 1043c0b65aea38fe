import type { ControlEffects, ControlEvent, ControlLog } from "./events.ts";

/** What this node does about events, and does again when it failed. */
export interface Reactions {
  /** Begun at once and in the order of the calls; nobody is kept waiting by a slow one. Never rejects. */
  act(event: ControlEvent): Promise<void>;
  actOnAll(): Promise<void>;
  /** Begins again what has failed. */
  retry(): void;
}

/** Failed events that are remembered one by one; beyond, everything is looked at again. */
const FAILED_EVENTS = 1_000;

export function createReactions(effects: ControlEffects, log: ControlLog): Reactions {
  let failed: ControlEvent[] = [];
  let allFailed = false;

  const actOnAll = async (): Promise<void> => {
    try {
      await effects.actOnAll();
    } catch (error) {
      log.error({ err: error }, "not everything could be looked at again; it is tried again");
      allFailed = true;
    }
  };
  const act = async (event: ControlEvent): Promise<void> => {
    try {
      await effects.act(event);
    } catch (error) {
      log.error({ err: error, ...event }, "an event could not be acted on; it is tried again");
      failed.push(event);
    }
  };

  return {
    act,
    actOnAll,
    retry() {
      const again = failed;
      failed = [];
      if (allFailed || again.length > FAILED_EVENTS) {
        allFailed = false;
        void actOnAll();
      } else for (const event of again) void act(event);
    },
  };
}
