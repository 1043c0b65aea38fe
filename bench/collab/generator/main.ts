import { openFleet } from "./fleet.ts";
import type { Fleet, FleetPlan, FloodLoad, TypingLoad, Watched } from "./fleet.ts";
import type { Material } from "./material.ts";
import type { Door } from "./member.ts";
import { open, openPaster, seed } from "./solo.ts";
import type { Paster } from "./solo.ts";

/** The load generator's process: one request after the other over Node's IPC channel, see call.ts. */

let fleet: Fleet | undefined;
let paster: Paster | undefined;

function theFleet(): Fleet {
  if (fleet === undefined) throw new Error("no fleet is open");
  return fleet;
}

function thePaster(): Paster {
  if (paster === undefined) throw new Error("no paster is open");
  return paster;
}

const methods = {
  openFleet: async (plan: FleetPlan) => {
    const begin = performance.now();
    fleet = await openFleet(plan);
    return { ms: performance.now() - begin };
  },
  type: (load: TypingLoad) => {
    theFleet().type(load);
  },
  flood: (load: FloodLoad) => {
    theFleet().flood(load);
  },
  mark: (watched: Watched) => theFleet().mark(watched),
  settle: (timeoutMs: number) => theFleet().settle(timeoutMs),
  closeFleet: () => {
    theFleet().close();
  },
  seed: ({ door, material }: { door: Door; material: Material }) => seed(door, material),
  open: ({ door, letters, times }: { door: Door; letters: number | undefined; times: number }) =>
    open(door, letters, times),
  openPaster: async (door: Door) => {
    paster = await openPaster(door);
  },
  paste: (bytes: number) => thePaster().paste(bytes),
  stopReader: () => {
    thePaster().stopReader();
  },
  stoppedReader: () => thePaster().closed(),
  closePaster: () => {
    thePaster().close();
  },
};
export type Methods = typeof methods;

export interface Request {
  readonly id: number;
  readonly method: keyof Methods;
  readonly input: unknown;
}

export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string };

const reply = (message: Reply): void => {
  process.send?.(message);
};

process.on("message", (request: Request) => {
  new Promise((resolve) => resolve(Reflect.apply(methods[request.method], undefined, [request.input])))
    .then((value) => reply({ id: request.id, value }))
    .catch((error: unknown) => reply({ id: request.id, error: String(error) }));
});
process.on("disconnect", () => process.exit(0));
reply({ id: 0, value: "ready" });
