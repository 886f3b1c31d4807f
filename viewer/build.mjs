// Bundles the viewer and three.js into one classic script and places it, with three's licence, in the Python package.
import { copyFile, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = "../src/palmist/view/";
const licence = await readFile(here("node_modules/three/LICENSE"), "utf8");
const { version } = JSON.parse(await readFile(here("node_modules/three/package.json"), "utf8"));

const result = await build({
  entryPoints: [here("src/main.js")],
  outfile: here(target + "page.js"),
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2020",
  charset: "ascii",
  legalComments: "none", // the whole licence stands in the banner
  // The page carries the licence text of what it carries: the MIT notice must travel with every copy.
  banner: { js: `/*! Contains three.js ${version}\n\n${licence.trim()}\n*/` },
  metafile: true,
});
await copyFile(here("node_modules/three/LICENSE"), here(target + "LICENSE-three.txt"));
for (const [file, { bytes }] of Object.entries(result.metafile.outputs)) console.log(file, bytes, "bytes");
