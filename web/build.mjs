// Bundles the page into the Python package; `make web` calls it, a test compares what it writes with what is committed.
import { build } from "esbuild";

const folder = process.argv[2] ?? "../src/peftscope/views/report/bundle";

await build({
  entryPoints: { page: "src/main.tsx" },
  outdir: folder,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  charset: "ascii",
  legalComments: "none",
  banner: { js: "/* Built from web/ by `make web`. Holds preact (MIT), Observable Plot (ISC) and D3 (ISC). */" },
});
