/** The map in docs/architecture.md, as rules. @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "shared-is-a-leaf",
      severity: "error",
      from: { path: "^shared/" },
      to: { path: "^(server|collab|terminal|web|scripts|bench)/" },
    },
    {
      name: "rooms-do-not-know-each-other",
      severity: "error",
      from: { path: "^(collab|terminal|web)/" },
      to: { path: "^(server|collab|terminal|web)/", pathNot: "^$1/" },
    },
    {
      name: "only-the-composition-root-sees-rooms",
      severity: "error",
      from: {
        path: "^server/",
        pathNot: "^server/(src/(main|compose|admin)\\.ts$|src/admin/|test/|src/testing|src/storage/)",
      },
      to: { path: "^(collab|terminal)/" },
    },
    {
      name: "storage-knows-rooms-by-their-ports",
      comment:
        "The stores implement ports that rooms declare: they see the types, and the in-memory models in testing.",
      severity: "error",
      from: { path: "^server/src/storage/" },
      to: { path: "^(collab|terminal)/", pathNot: "/src/testing\\.ts$", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "rooms-are-entered-by-the-front-door",
      severity: "error",
      from: { path: "^([^/]+)/" },
      to: {
        path: "^(shared|collab|terminal|server)/src/",
        pathNot: ["^$1/", "/src/(index|testing)\\.ts$"],
      },
    },
    {
      name: "core-does-not-know-adapters",
      severity: "error",
      from: {
        path: "^[^/]+/src/",
        pathNot: ["/adapters/", "/testing/", "/(index|testing|main|compose|admin)\\.ts$"],
      },
      to: { path: "^[^/]+/src/.*adapters/" },
    },
    {
      name: "core-does-no-io",
      severity: "error",
      from: { path: "^(collab|terminal|shared)/src/", pathNot: "/src/(adapters/|testing)" },
      to: {
        dependencyTypes: ["core"],
        pathNot: "^(node:)?(crypto|buffer|assert|events|timers/promises|stream|http|zlib)$",
      },
    },
    {
      name: "tests-are-not-imported",
      severity: "error",
      from: { pathNot: "(^|/)test/" },
      to: { path: "(^|/)test/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "node_modules|web/dist" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default"],
      extensions: [".ts", ".tsx", ".js"],
    },
  },
};
