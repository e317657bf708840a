// Names, outputs and logs that try to be more than text.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SCRIPT, assertTextOnly } from "./checks.mjs";
import { World, logSays } from "./world.mjs";

let world;
before(async () => (world = await World.open()));
after(() => world.close());

const NAMES = [SCRIPT, "javascript:alert(1)", "safe\u202egnp.exe", "emoji 🚀 日本 ‮", "x".repeat(1000), "a\u0007bell"];
test("names, labels, outputs and errors are text on every screen", (t) =>
  world.use(t, {}, async (context, open) => {
    const page = await open();
    page.on("dialog", (dialog) => assert.fail(`a script ran: ${dialog.message()}`));
    for (const name of NAMES) {
      // JSON can't hold a NUL in a name; the log below has one.
      const run = `printf '%s' "$NAME" > /dev/null; echo '::set-output name=link::javascript:alert(1)'; echo '::set-output name=html::${SCRIPT}'`;
      const id = await world.submit({
        name,
        jobs: { first: { name, run }, second: { name, needs: "first", run: "exit 3" } },
      });
      await world.visit(page, `#/runs/${id}?tab=graph`);
      await page.locator("h1 .pill.failure").waitFor();
      await page.locator(".node").first().waitFor();
      await assertTextOnly(page);
      await page.getByRole("tab", { name: "Jobs" }).click();
      await page.locator("tr[data-job]").first().waitFor();
      await assertTextOnly(page);
      await page.getByRole("tab", { name: "Timeline" }).click();
      await assertTextOnly(page);
      await world.visit(page, `#/runs/${id}/jobs/first`);
      await page.getByText("javascript:alert(1)").first().waitFor();
      await assertTextOnly(page);
      const width = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      assert.ok(width <= 0, `the page is ${width} px wider than the window`);
    }
    await world.visit(page, "#/runs");
    await page
      .locator("tr[data-run]")
      .nth(NAMES.length - 1)
      .waitFor();
    await assertTextOnly(page);
  }));

test("a log of sequences, titles, links and overrides is text", (t) =>
  world.use(t, {}, async (context, open) => {
    const page = await open();
    page.on("dialog", (dialog) => assert.fail(`a script ran: ${dialog.message()}`));
    const run = [
      `echo '${SCRIPT}'`,
      "printf 'nul \\000 bell \\007 end\\n'",
      "printf '\\033]0;a title\\007after the title\\n'",
      "printf '\\033]8;;javascript:alert(1)\\007click\\033]8;;\\007 \\033]8;;https://example.org/\\007go\\033]8;;\\007\\n'",
      "printf 'over\\u202eride \\u2066iso\\u2069 🚀 日本\\n'",
      "printf '\\033[2J\\033[1;1Hmoved\\033]8;;never ends\\n'",
      "head -c 20000 /dev/zero | tr '\\0' 'w'; echo",
    ].join("; ");
    const id = await world.submit({ name: "hostile log", jobs: { talk: { run } } });
    await world.visit(page, `#/runs/${id}/jobs/talk`);
    await logSays(page, "7 lines, complete");
    await assertTextOnly(page);
    const text = await page.locator(".log pre").first().textContent();
    const lines = text.split("\n");
    assert.deepEqual(lines.slice(0, 6), [
      SCRIPT,
      "nul \\u{0} bell \\u{7} end",
      "after the title",
      "click go",
      "over\\u{202e}ride \\u{2066}iso\\u{2069} 🚀 日本",
      "moved\\u{1b}]8;;never ends",
    ]);
    assert.match(lines[6], /^w{16384} … 3616 more characters$/);
    await page.getByText("Links in the log (1)").click();
    assert.deepEqual(
      await page.locator(".log-panel details a").evaluateAll((links) => links.map((link) => [link.href, link.rel])),
      [["https://example.org/", "noopener noreferrer"]],
    );
  }));

test("no inline script, style or foreign script could run", (t) =>
  world.use(t, {}, async (context, open) => {
    const page = await open();
    const answer = await page.goto(world.url);
    const policy = answer.headers()["content-security-policy"];
    for (const part of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "require-trusted-types-for 'script'",
      "trusted-types wfg",
      "frame-ancestors 'none'",
    ]) {
      assert.ok(policy.includes(part), part);
    }
    for (const file of ["", "app.js", "app.css", "layout.js", "icon.svg"]) {
      const { headers } = await fetch(world.url + file);
      assert.equal(headers.get("content-security-policy"), policy, file);
      assert.equal(headers.get("x-content-type-options"), "nosniff", file);
      assert.equal(headers.get("referrer-policy"), "no-referrer", file);
    }
    const html = await answer.text();
    assert.ok(!/<script(?![^>]*src=)|style=|<style| on\w+=/.test(html));
  }));
