// The server is killed and started again in the middle of a run and of a log.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { waiting } from "./workflows.mjs";
import { World, logSays } from "./world.mjs";

let world;
before(async () => (world = await World.open()));
after(() => world.close());

test("after a restart the page goes on without a reload, and no line is lost or twice", async (t) => {
  if (!world.canRestart) return t.skip("WFG_PAGE_KILL and WFG_PAGE_START are missing");
  await world.use(t, {}, async (_, open) => {
    const [first, last] = [world.gate(), world.gate()];
    const talk = `seq -f 'before %.0f' 200; ${waiting(first.file)}; seq -f 'after %.0f' 200; ${waiting(last.file)}`;
    const id = await world.submit({
      name: "restart",
      jobs: { talk: { run: talk }, next: { needs: "talk", run: "echo last" } },
    });
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/talk`);
    await logSays(page, "200 lines, more may come");
    await page.evaluate(() => (window.isSamePage = true));
    await world.kill();
    const banner = page.getByRole("alert").filter({ hasText: "The server doesn't answer." });
    await banner.getByText("The page shows what was known at").waitFor();
    // What was known stays.
    assert.equal(await page.locator(".node", { hasText: "talk" }).count(), 1);
    assert.match(await page.locator(".log pre").first().textContent(), /before 200\n$/);
    first.open();
    await world.start();
    await page.getByRole("button", { name: "Try now" }).click();
    await logSays(page, "401 lines, more may come");
    await banner.waitFor({ state: "detached" });
    last.open();
    await page.locator("h1 .pill.success").waitFor();
    await page.locator(".node.success", { hasText: "next" }).waitFor();
    await logSays(page, "402 lines, complete");
    const text = (await page.locator(".log pre").allTextContents()).join("");
    const numbers = (word, count) => Array.from({ length: count }, (__, i) => `${word} ${i + 1}`);
    assert.equal(text, [...numbers("before", 200), "opened", ...numbers("after", 200), "opened", ""].join("\n"));
    assert.equal(await page.evaluate(() => window.isSamePage), true);
  });
});

test("a server that is overloaded, full or asks for patience is said in words, and asked again", (t) =>
  world.use(t, {}, async (context, open) => {
    const id = await world.submit({ name: "patience", jobs: { a: { run: "true" } } });
    const answers = [
      [429, "rate_limited", "too many requests: at most 5000 a second are answered"],
      [503, "storage_full", "the disk of the store is full"],
    ];
    for (const [status, code, message] of answers) {
      const page = await open();
      let isBroken = true;
      await page.route("**/graph", (route) =>
        isBroken
          ? route.fulfill({
              status,
              headers: { "Retry-After": "1" },
              contentType: "application/json",
              body: JSON.stringify({ error: { code, message } }),
            })
          : route.continue(),
      );
      await world.visit(page, `#/runs/${id}`);
      await page.getByRole("alert").getByText(message).waitFor();
      isBroken = false;
      await page.getByRole("button", { name: "Try now" }).click();
      await page.getByRole("heading", { name: "patience" }).waitFor();
      await page.close();
    }
  }));
