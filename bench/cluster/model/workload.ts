/**
 * Who has which document open, and who types. Assumed, not measured: every tenth is open; of 1000 that are, 800 are open to
 * one person, 140 to two, and so on; a person in a hundred types at any moment.
 */
const PEOPLE_PER_DOCUMENT: readonly {
  readonly share: number;
  readonly least: number;
  readonly most: number;
}[] = [
  { share: 0.8, least: 1, most: 1 },
  { share: 0.14, least: 2, most: 2 },
  { share: 0.045, least: 3, most: 5 },
  { share: 0.012, least: 6, most: 20 },
  { share: 0.0027, least: 21, most: 60 },
  { share: 0.0003, least: 61, most: 200 },
];

export interface Workload {
  readonly documents: number;
  /** Of documents, those that somebody has open at a moment. The others cost nothing. */
  readonly openShare: number;
  /** Of people, those who type at a moment. */
  readonly typingShare: number;
  readonly rowsPerSecond: number;
  /** How long a person keeps typing, and has a document open, on average. */
  readonly typesMs: number;
  readonly staysMs: number;
}

export const WORKLOAD: Workload = {
  documents: 1_000_000,
  openShare: 0.1,
  typingShare: 0.01,
  rowsPerSecond: 2,
  typesMs: 20_000,
  staysMs: 600_000,
};

/** The document of each person, by place in the result. */
export function placePeople(documents: number, random: () => number): Int32Array {
  const placed: number[] = [];
  for (let document = 0; document < documents; document += 1) {
    let left = random();
    const kind = PEOPLE_PER_DOCUMENT.find(({ share }) => (left -= share) < 0) ?? { least: 1, most: 1 };
    const people = kind.least + Math.floor(random() * (kind.most - kind.least + 1));
    for (let count = 0; count < people; count += 1) placed.push(document);
  }
  return Int32Array.from(placed);
}

export type Routing = "random" | "by-document";

/** Of connections that are routed by document, those that end elsewhere: an old address, a balancer that does not know. */
const STRAY_SHARE = 0.01;

/** The node for a connection to a document: any, or the one with the highest hash of both (rendezvous hashing). */
export function route(
  routing: Routing,
  document: number,
  { nodes, random }: { nodes: readonly number[]; random: () => number },
): number {
  if (routing === "random" || random() < STRAY_SHARE) return nodes[Math.floor(random() * nodes.length)] ?? 0;
  let best = -1;
  let chosen = 0;
  for (const node of nodes) {
    const weight = mix(mix(document + 1) ^ (node + 1));
    if (weight <= best) continue;
    best = weight;
    chosen = node;
  }
  return chosen;
}

/** A good 32-bit mixer (the last steps of MurmurHash3). */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
