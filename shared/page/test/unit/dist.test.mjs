// dist is what the sources give, within its limits, and without what its Content-Security-Policy forbids.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkSizes, page } from "../../build.mjs";

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const files = await page();
const read = (...parts) => readFileSync(path.join(root, ...parts), "utf8");

test("dist is what the sources give", () => {
  assert.deepEqual(readdirSync(path.join(root, "dist")).sort(), Object.keys(files).sort());
  for (const [name, text] of Object.entries(files))
    assert.ok(read("dist", name) === text, `dist/${name} is old: run \`npm run build\``);
});

test("all files have at most 120 KB, and 40 KB by gzip", (t) => {
  const { size, gzipped } = checkSizes(files);
  t.diagnostic(`${size} bytes, ${gzipped} by gzip`);
});

test("addresses are relative, and scripts and styles carry their hash", () => {
  const html = files["index.html"];
  const addresses = [...html.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, address]) => address);
  assert.equal(addresses.length, 3);
  for (const address of addresses) assert.match(address, /^(icon\.svg|app\.(css|js)\?v=[0-9a-f]{12})$/);
  assert.match(files["app.js"], /layout\.js\?v=[0-9a-f]{12}/);
});

test("the page's own sources write no HTML and evaluate no text", () => {
  const sources = readdirSync(path.join(root, "src"), { recursive: true }).filter((name) => /\.tsx?$/.test(name));
  assert.ok(sources.length > 30);
  for (const name of sources) {
    assert.doesNotMatch(
      read("src", name),
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/,
      name,
    );
  }
  assert.doesNotMatch(files["index.html"], /<script(?![^>]*src=)|<style|style=/);
});

test("packages are pinned, and the lock file names no host", () => {
  const { dependencies, devDependencies } = JSON.parse(read("package.json"));
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies }))
    assert.match(version, /^\d+\.\d+\.\d+$/, name);
  assert.doesNotMatch(read("package-lock.json"), /"resolved"/);
});
