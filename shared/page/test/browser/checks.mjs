// What every screen must keep: it is clean by axe, and text of others is only text.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Text that runs if it becomes HTML. */
export const SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>";
/** What must not be in the text of the page as it is: it would turn or hide what is around it. */
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

/** The page shows no text that could mislead, and nothing became an element. */
export async function assertTextOnly(page) {
  const found = await page.evaluate(() => ({
    text: document.body.innerText,
    scripts: document.querySelectorAll("script").length,
    images: document.querySelectorAll("img").length,
    links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
    title: document.title,
  }));
  assert.equal(UNSAFE.exec(found.text), null);
  assert.equal(UNSAFE.exec(found.title), null);
  assert.equal(found.scripts, 1);
  assert.equal(found.images, 0);
  for (const link of found.links) assert.match(link, /^https?:/);
}

/** The problems that axe finds, one line each. */
export async function axe(page) {
  // The page's policy forbids scripts of others; a test's debugger is no script of the page.
  await page.evaluate(AXE);
  return page.evaluate(async (values) => {
    const { violations } = await globalThis.axe.run(document, { runOnly: { type: "tag", values } });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary}`),
    );
  }, RULES);
}
