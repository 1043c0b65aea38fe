import { defineConfig } from "vite";

/** Where `vite dev` finds the API while the client is being worked on; the built client is served by the server. */
const SERVER = "http://127.0.0.1:3200";

export default defineConfig({
  build: {
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    outDir: "dist",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      "/api": SERVER,
      "/collab": { target: SERVER.replace("http", "ws"), ws: true },
    },
  },
});
