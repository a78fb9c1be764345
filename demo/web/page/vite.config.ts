import { defineConfig, type Plugin } from "vite";

/** Puts the list of what the page consists of into the service worker, so that it can keep it. */
function listFilesForServiceWorker(): Plugin {
  return {
    name: "list-files-for-service-worker",
    generateBundle(_, bundle) {
      // The engines (.wasm and their .mjs) are large, and a device uses one of two: it is kept when it is fetched.
      const files = Object.keys(bundle).filter((name) => !/\.(wasm|mjs)$/.test(name));
      this.emitFile({ type: "asset", fileName: "files.json", source: JSON.stringify(["./", ...files.sort()]) });
    },
  };
}

export default defineConfig({
  base: "./",
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser"] },
  worker: { format: "es" },
  plugins: [listFilesForServiceWorker()],
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy has no data: scripts or styles
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1000,
  },
});
