// Bundles the page into dist. Usage: node build.mjs [--out FOLDER]
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";
import { preact } from "./preact.mjs";

const root = path.dirname(fileURLToPath(import.meta.url));
/** The most that all files may have together, in bytes: as they are, and by gzip. */
const MOST = 120 * 1024;
const MOST_GZIPPED = 40 * 1024;

/** The script contains Preact, whose licence is in LICENSE-preact. */
const PREAMBLE = "/* With Preact, MIT, (c) 2015-present Jason Miller */";

/** What gives the smallest files by gzip. No getter of the page has an effect, and nobody replaces what a browser has built in. */
const COMPRESS = {
  passes: 3,
  inline: 1,
  conditionals: false,
  lhs_constants: false,
  pure_getters: true,
  unsafe: true,
  unsafe_arrows: true,
};

/** Bundles a file with all that it imports. Terser makes the script about 3 percent smaller than esbuild alone. */
async function bundle(entry, define = {}) {
  const hasMarkup = entry.endsWith(".tsx");
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    outdir: "out",
    format: "esm",
    target: ["chrome123", "firefox140", "safari18"],
    charset: "utf8",
    legalComments: "none",
    // Calls of `h` are smaller than those of the automatic runtime.
    jsx: "transform",
    jsxFactory: "h",
    jsxFragment: "Fragment",
    inject: hasMarkup ? ["src/jsx.ts"] : [],
    plugins: hasMarkup ? [preact(root)] : [],
    // The names that Preact's own build shortens too.
    mangleProps: /^_[^_]/,
    tsconfigRaw: { compilerOptions: { target: "ES2022" } },
    define,
    logLevel: "warning",
  });
  const { text } = result.outputFiles[0];
  if (entry.endsWith(".css")) return text;
  const { code } = await minify(text, {
    module: true,
    ecma: 2022,
    compress: COMPRESS,
    format: { comments: false, preamble: hasMarkup ? PREAMBLE : "" },
  });
  return `${code}\n`;
}

/** The address of a file, with the hash of its text: it is cached for ever. */
function address(name, text) {
  return `${name}?v=${createHash("sha256").update(text).digest("hex").slice(0, 12)}`;
}

/** The files of the page by name. The same sources give the same bytes. */
export async function page() {
  const layout = await bundle("src/layout-worker.ts");
  const script = await bundle("src/main.tsx", { LAYOUT_URL: JSON.stringify(address("layout.js", layout)) });
  const style = await bundle("src/app.css");
  const html = readFileSync(path.join(root, "src/index.html"), "utf8")
    .replace("{app.css}", address("app.css", style))
    .replace("{app.js}", address("app.js", script));
  const icon = readFileSync(path.join(root, "src/icon.svg"), "utf8");
  return { "index.html": html, "app.js": script, "app.css": style, "layout.js": layout, "icon.svg": icon };
}

/** Throws if the files are over the limits. Returns their sizes. */
export function checkSizes(files) {
  const texts = Object.values(files);
  const size = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const gzipped = texts.reduce((sum, text) => sum + gzipSync(text, { level: 9 }).length, 0);
  if (size > MOST) throw new Error(`the page has ${size} bytes; ${MOST} are allowed`);
  if (gzipped > MOST_GZIPPED) throw new Error(`the page has ${gzipped} bytes by gzip; ${MOST_GZIPPED} are allowed`);
  return { size, gzipped };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf("--out");
  const out = at < 0 ? path.join(root, "dist") : process.argv[at + 1];
  const files = await page();
  mkdirSync(out, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(out, name), text);
  const { size, gzipped } = checkSizes(files);
  console.log(`${out}: ${size} bytes, ${gzipped} by gzip`);
}
