import { LOAD_METRICS, typeOnCluster } from "./stage.ts";
import type { ClusterScenario } from "./stage.ts";

/** What a delivery from one node to another costs, and how costs grow with documents, clients and nodes. */

const MODERATE = [
  { name: "25 clients a node, one document", documents: 1, clients: 50, writers: 20, updatesPerSecond: 5 },
  { name: "100 clients a node, one document", documents: 1, clients: 200, writers: 15, updatesPerSecond: 4 },
  {
    name: "200 documents x 2, one at each node",
    documents: 200,
    clients: 2,
    writers: 2,
    updatesPerSecond: 2,
  },
] as const;

export const cost: ClusterScenario = {
  name: "cost",
  title: "Two nodes, moderate typing",
  rounds: 3,
  cells: ({ quick }) =>
    (quick ? MODERATE.toSpliced(1, 1) : MODERATE).map(({ name, ...load }) => ({
      name,
      metrics: [
        {
          key: "cpuPerMillionFar",
          label: "CPU s of the nodes per 1M cross-node deliveries",
          better: "lower",
        },
        { key: "redisCpuPerMillionFar", label: "CPU s of Redis per 1M", better: "lower" },
        { key: "storeCpuPerMillionFar", label: "CPU s of the store per 1M", better: "info" },
        ...LOAD_METRICS,
        { key: "p50Ms", label: "p50 ms of all deliveries", better: "lower" },
        { key: "p99Ms", label: "p99 ms of all deliveries", better: "lower" },
        { key: "settleMs", label: "ms until all delivered and acked after the load", better: "info" },
      ],
      measure: (round) => typeOnCluster(round, { nodes: 2, cursorsPerSecond: 0, ...load }),
    })),
};

const DOCUMENTS = { full: [200, 600, 2000], quick: [] } as const;
const CLIENTS = { full: [20, 100, 400], quick: [] } as const;
const NODES = { full: [1, 2, 3, 4], quick: [3] } as const;
const DOCUMENTS_PER_NODE = 100;

export const growth: ClusterScenario = {
  name: "growth",
  title: "The same with more documents, clients and nodes",
  rounds: 1,
  cells: ({ quick }) => {
    const size = quick ? "quick" : "full";
    const pair = { clients: 2, writers: 2, cursorsPerSecond: 0 };
    const loads = [
      ...DOCUMENTS[size].map((documents) => ({
        name: `${documents} documents x 2 at two nodes, 0.5 updates/s each person`,
        typing: { nodes: 2, documents, ...pair, updatesPerSecond: 0.5 },
      })),
      ...CLIENTS[size].map((clients) => ({
        name: `${clients} clients at two nodes, one document, 20 updates/s in all`,
        typing: { nodes: 2, documents: 1, clients, writers: 10, updatesPerSecond: 2, cursorsPerSecond: 0 },
      })),
      ...NODES[size].map((nodes) => ({
        name: `nodes: ${nodes}, with ${DOCUMENTS_PER_NODE} documents x 2 for each, 1 update/s each person`,
        typing: { nodes, documents: nodes * DOCUMENTS_PER_NODE, ...pair, updatesPerSecond: 1 },
      })),
    ];
    return loads.map(({ name, typing }) => ({
      name,
      metrics: LOAD_METRICS,
      measure: (round) => typeOnCluster(round, typing),
    }));
  },
};
