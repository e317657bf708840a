// Bundles the tests of one folder and runs them by node --test. Usage: node test/run.mjs unit|browser [name ...]
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const [kind = "unit", ...names] = process.argv.slice(2);
const folder = path.join(root, "test", kind);
const tests = readdirSync(folder)
  .filter((file) => /\.test\.(ts|mjs)$/.test(file))
  .filter((file) => names.length === 0 || names.some((name) => file.startsWith(name)))
  .sort();
let files = tests.map((file) => path.join(folder, file));
if (kind === "unit") {
  // Tests in TypeScript are bundled; those in JavaScript, which test the build, run as they are.
  const typed = tests.filter((file) => file.endsWith(".ts"));
  const out = path.join(root, ".test", kind);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  await build({
    entryPoints: typed.map((file) => path.join(folder, file)),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    sourcemap: "inline",
    logLevel: "warning",
  });
  files = tests.map((file) => path.join(file.endsWith(".ts") ? out : folder, file.replace(/\.ts$/, ".mjs")));
}
if (files.length === 0) {
  console.error(`no test in test/${kind} has a name that begins with ${names.join(" or ")}`);
  process.exit(2);
}
// Browser tests share the machine's cores with the browser, so they run one file at a time.
const limits = kind === "browser" ? ["--test-concurrency=1"] : [];
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...limits, ...files], {
  stdio: "inherit",
  cwd: root,
});
process.exit(run.status ?? 1);
