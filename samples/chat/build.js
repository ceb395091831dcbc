// Bundles the page into build/.

import { build } from "esbuild";

const nothing = new URL("nothing.cjs", import.meta.url).pathname;

await build({
  absWorkingDir: new URL(".", import.meta.url).pathname,
  entryPoints: ["page.jsx"],
  outdir: "build",
  bundle: true,
  minify: true,
  format: "esm",
  splitting: true,
  jsx: "automatic",
  target: "es2022",
  define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
  // The UI library also has calls; who shows chats alone needs none of what they stand on.
  alias: { "@azure/communication-calling": nothing, "@azure/communication-calling-effects": nothing },
  logLevel: "warning",
});
