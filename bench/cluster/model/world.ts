import { createRandom } from "../../collab/measure/stats.ts";
import { BusModel } from "./bus.ts";
import type { BusPlan } from "./bus.ts";
import { Calendar, TICK_MS } from "./calendar.ts";
import { Convergence } from "./convergence.ts";
import { NodeModel } from "./node.ts";
import type { NodeLimits } from "./node.ts";
import { DocumentModel } from "./seat.ts";
import type { SeatModel } from "./seat.ts";
import { StoreModel } from "./store.ts";
import { placePeople, route } from "./workload.ts";
import type { Routing, Workload } from "./workload.ts";

export interface WorldPlan {
  readonly nodes: number;
  readonly workload: Workload;
  readonly routing: Routing;
  readonly seed: number;
  readonly bus: BusPlan;
  /** Readings of the log that the store answers. */
  readonly readingsPerSecond: number;
  readonly limits: NodeLimits;
}

/** server/src/bus/redis.ts: how often a node looks whether messages pass, how late is too late, and for a return. */
const PROBE = { everyMs: 1_000, lateMs: 1_000, returnMs: 500 } as const;
const RECONNECT_MS = 2_000;
/** Of Redis' time, for the two channels of a document; measured, see docs/scaling.md. */
const SUBSCRIBE_MS = 0.004;
const AWAY_MS = 10_000;
const MOST_VIOLATIONS = 10;

/** Nodes, documents and people, a Redis and a store, and the faults that they meet. */
export class World {
  readonly calendar = new Calendar();
  readonly bus: BusModel;
  readonly store: StoreModel;
  readonly nodes: NodeModel[];
  /** Those that somebody has, or has had, open. */
  readonly documents: DocumentModel[];
  readonly violations: string[] = [];
  /** Rows that people have typed. */
  typedRows = 0;
  readonly #plan: WorldPlan;
  readonly #random: () => number;
  readonly #people: Int32Array;
  readonly #seatOf: (SeatModel | undefined)[] = [];
  #typists: number[] = [];
  #owed = { rows: 0, leaves: 0, pauses: 0 };
  #redisRuns = true;
  readonly #cut = new Set<NodeModel>();
  #calm = false;
  #convergence: Convergence | undefined;

  constructor(plan: WorldPlan) {
    this.#plan = plan;
    this.#random = createRandom(plan.seed);
    const { calendar } = this;
    const random = this.#random;
    this.bus = new BusModel({ calendar, random, plan: plan.bus });
    this.store = new StoreModel(plan.readingsPerSecond);
    const { documents, openShare } = plan.workload;
    const length = Math.round(documents * openShare);
    this.documents = Array.from({ length }, (_, id) => new DocumentModel(id));
    this.#people = placePeople(length, random);
    this.nodes = Array.from({ length: plan.nodes }, (_, place) => this.#createNode(place));
    this.#seatEverybody();
    for (const node of this.nodes) calendar.after(random() * PROBE.everyMs, () => this.#probe(node));
  }

  get people(): number {
    return this.#people.length;
  }

  /** Live documents at all nodes, and of those the ones that several nodes have. */
  seats(): { all: number; shared: number } {
    let all = 0;
    let shared = 0;
    for (const { seats } of this.documents) {
      all += seats.length;
      if (seats.length > 1) shared += seats.length;
    }
    return { all, shared };
  }

  pass(ms: number): void {
    for (const end = this.calendar.now + ms; this.calendar.now < end;) this.#step();
  }

  // --- faults ---

  /** Redis ends and is back after a while. What passes until then is lost. */
  restartRedis(downMs: number): void {
    this.#redisRuns = false;
    this.bus.end();
    for (const node of this.#alive()) node.busChanged(false);
    this.pass(downMs);
    this.#redisRuns = true;
    for (const node of this.#alive()) this.#reconnect(node);
  }

  /** One node loses its way to Redis for a while. */
  cutOff(place: number, ms: number): void {
    const node = this.#node(place);
    this.#cut.add(node);
    node.busChanged(false);
    this.pass(ms);
    this.#cut.delete(node);
    this.#reconnect(node);
  }

  /** kill -9 in the middle of a commit. Its people come back elsewhere. */
  crash(place: number): void {
    const node = this.#node(place);
    while (!node.isCommitting) this.#step();
    node.die();
    for (const [person, seat] of this.#seatOf.entries()) {
      if (seat?.host === node) this.#comeBack(person, 1_000 + this.#random() * 4_000);
    }
  }

  /** Follows the documents that lack something now, until all have it or time is up. */
  converge(mostMs: number): ReturnType<Convergence["result"]> {
    const convergence = new Convergence(this.documents, () => this.calendar.now);
    this.#convergence = convergence;
    const end = this.calendar.now + mostMs;
    while (convergence.open > 0 && this.calendar.now < end) this.#step();
    this.#convergence = undefined;
    return convergence.result();
  }

  /** Until a silent node is missed, and all nodes have done what the last fault has left them to do; false when they have not within this time. */
  calmDown(mostMs: number): boolean {
    this.pass(this.#plan.limits.leaseMs + 2 * this.#plan.limits.beatMs);
    const end = this.calendar.now + mostMs;
    const calm = (): boolean => this.#alive().every(({ isCalm }) => isCalm);
    while (!calm() && this.calendar.now < end) this.pass(TICK_MS * 10);
    return calm();
  }

  /** Nobody types or moves any more; the number of documents that still lack something at the end. */
  settle(ms: number): number {
    this.#calm = true;
    this.pass(ms);
    let apart = 0;
    for (const { seats, logs } of this.documents) {
      const lacks = (seat: SeatModel): boolean =>
        [...(logs?.keys() ?? [])].some(
          (place) => place !== seat.host.place && seat.missing(place) < Number.POSITIVE_INFINITY,
        );
      if (seats.some(lacks)) apart += 1;
    }
    return apart;
  }

  // --- within ---

  #node(place: number): NodeModel {
    const node = this.nodes[place];
    if (node === undefined) throw new Error(`there is no node ${place}`);
    return node;
  }

  #alive(): NodeModel[] {
    return this.nodes.filter(({ alive }) => alive);
  }

  #createNode(place: number): NodeModel {
    const { limits } = this.#plan;
    return new NodeModel({
      place,
      limits,
      calendar: this.calendar,
      random: this.#random,
      bus: this.bus,
      store: this.store,
      othersCutOff: (asking) => this.nodes.some(({ alive, up }, other) => alive && !up && other !== asking),
      beat: (from) => this.#beat(this.#node(from)),
      watch: {
        advanced: (seat, from, held) => this.#convergence?.advanced(seat, from, held),
        closed: (seat) => this.#convergence?.closed(seat),
        violated: (what) => {
          if (this.violations.length < MOST_VIOLATIONS) this.violations.push(what);
        },
      },
    });
  }

  #beat(from: NodeModel): void {
    if (!from.up) return;
    const others = this.nodes.filter((node) => node.alive && node.up && node !== from);
    this.bus.publishSilently(from, "beat", others.length + 1);
    for (const other of others) other.heard(from.place);
  }

  /** A node sees every second whether its own messages come back, and how late. */
  #probe(node: NodeModel): void {
    if (!node.alive) return;
    this.calendar.after(PROBE.everyMs, () => this.#probe(node));
    this.#listen(node);
  }

  #listen(node: NodeModel): void {
    if (!this.#redisRuns || this.#cut.has(node)) return;
    const tookMs = this.bus.probe();
    this.calendar.after(tookMs, () => {
      if (!node.alive || !this.#redisRuns || this.#cut.has(node)) return;
      const up = tookMs <= (node.up ? PROBE.lateMs : PROBE.returnMs);
      if (up !== node.up) node.busChanged(up);
    });
  }

  #reconnect(node: NodeModel): void {
    this.calendar.after(this.#random() * RECONNECT_MS, () => {
      this.bus.occupy(node.seats.size * SUBSCRIBE_MS);
      this.#listen(node);
    });
  }

  #step(): void {
    this.calendar.step();
    this.store.pass(TICK_MS);
    if (!this.#calm) {
      this.#type();
      this.#move();
    }
    for (const node of this.nodes) if (node.alive) node.pass();
  }

  // --- people ---

  #seatEverybody(): void {
    const nodes = this.nodes.map(({ place }) => place);
    for (const [person, id] of this.#people.entries()) {
      const document = this.documents[id];
      if (document === undefined) continue;
      const node = this.#node(route(this.#plan.routing, id, { nodes, random: this.#random }));
      const seat = document.seats.find(({ host }) => host === node) ?? node.open(document);
      seat.people += 1;
      this.#seatOf[person] = seat;
    }
    for (const { seats } of this.documents) {
      if (seats.length < 2) continue;
      for (const seat of seats) for (const other of seats) if (seat !== other) seat.share(other.host.place);
    }
    for (const node of this.nodes) for (const other of nodes) if (other !== node.place) node.heard(other);
    const typing = Math.round(this.people * this.#plan.workload.typingShare);
    this.#typists = Array.from({ length: typing }, () => this.#anybody());
  }

  #anybody(): number {
    return Math.floor(this.#random() * this.people);
  }

  #type(): void {
    const { rowsPerSecond, typesMs } = this.#plan.workload;
    this.#owed.pauses += (this.#typists.length * TICK_MS) / typesMs;
    for (; this.#owed.pauses >= 1; this.#owed.pauses -= 1) {
      this.#typists[Math.floor(this.#random() * this.#typists.length)] = this.#anybody();
    }
    this.#owed.rows += (this.#typists.length * rowsPerSecond * TICK_MS) / 1000;
    for (; this.#owed.rows >= 1; this.#owed.rows -= 1) {
      const typist = this.#typists[Math.floor(this.#random() * this.#typists.length)] ?? 0;
      const seat = this.#seatOf[typist];
      if (seat === undefined || seat.left) continue;
      this.#node(seat.host.place).typed(seat);
      this.typedRows += 1;
    }
  }

  #move(): void {
    this.#owed.leaves += (this.people * TICK_MS) / this.#plan.workload.staysMs;
    for (; this.#owed.leaves >= 1; this.#owed.leaves -= 1) {
      const person = this.#anybody();
      const seat = this.#seatOf[person];
      if (seat === undefined || seat.left) continue;
      seat.people -= 1;
      if (seat.people === 0) this.#node(seat.host.place).close(seat);
      this.#comeBack(person, this.#random() * 2 * AWAY_MS);
    }
  }

  #comeBack(person: number, ms: number): void {
    this.#seatOf[person] = undefined;
    this.calendar.after(ms, () => {
      const id = this.#people[person] ?? 0;
      const document = this.documents[id];
      if (document === undefined) return;
      const nodes = this.#alive().map(({ place }) => place);
      const node = this.#node(route(this.#plan.routing, id, { nodes, random: this.#random }));
      const known = document.seats.find(({ host }) => host === node);
      const seat = known ?? node.open(document);
      seat.people += 1;
      this.#seatOf[person] = seat;
      // What was said between the loading and the subscription is missed.
      if (known === undefined) this.calendar.after(TICK_MS, () => !seat.left && node.joinOrWait(seat));
    });
  }
}
