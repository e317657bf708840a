// Bundles the tests of one folder and runs them by node --test. Usage: node test/run.mjs unit|browser [name ...]
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
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
/** Runs files, so many at a time. Returns the exit code. */
function run(some, atOnce) {
  if (some.length === 0) return 0;
  const args = ["--enable-source-maps", "--test", `--test-concurrency=${atOnce}`, ...some];
  return spawnSync(process.execPath, args, { stdio: "inherit", cwd: root }).status ?? 1;
}
if (kind === "unit") process.exit(run(files, availableParallelism()));
// Files that compare times of drawing run alone; so do all that share one server, because one of them kills it.
const isAlone = (file) => process.env.WFG_PAGE_URL !== undefined || /^(log|sizes)/.test(path.basename(file));
const [alone, others] = [files.filter(isAlone), files.filter((file) => !isAlone(file))];
const codes = [run(others, 2), run(alone, 1)];
process.exit(Math.max(...codes));
