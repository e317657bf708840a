// A reader submits, follows a failure to its line, runs again and cancels: by mouse, by keyboard, and with a token that may only read.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { demo, waiting } from "./workflows.mjs";
import { World, found } from "./world.mjs";

let world;
before(async () => (world = await World.open()));
after(() => world.close());

const runs = (page) => page.locator("tr[data-run]");
const lineInView = (page, text) =>
  page.waitForFunction((wanted) => {
    const log = document.querySelector(".log");
    if (!log) return false;
    const walker = document.createTreeWalker(log, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const at = node.data.indexOf(wanted);
      if (at < 0) continue;
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + wanted.length);
      const [rect, frame] = [range.getBoundingClientRect(), log.getBoundingClientRect()];
      return rect.top >= frame.top && rect.bottom <= frame.bottom;
    }
    return false;
  }, text);

test("a workflow is submitted in the form, and its failure followed to the line by mouse", (t) =>
  world.use(t, {}, async (_, open) => {
    const page = await open();
    await world.visit(page, "#/runs");
    await page.locator(".head").getByRole("link", { name: "New run" }).click();
    const area = page.getByLabel("Workflow in YAML or JSON");
    await area.fill("name: broken\njobs:\n  deploy:\n    needs: [nowhere]\n    run: echo hi\n");
    await page.getByRole("button", { name: "Submit" }).click();
    await page.getByRole("button", { name: "Line 4" }).click();
    assert.match(
      await page.evaluate(() => {
        const text = document.activeElement;
        return text.value.slice(text.selectionStart, text.selectionEnd);
      }),
      /nowhere/,
    );
    await area.fill(JSON.stringify(demo()));
    await page.getByRole("button", { name: "Submit" }).click();
    await page.getByRole("heading", { name: "release" }).waitFor();
    await page.locator("h1 .pill.failure").waitFor();
    assert.match(await page.title(), /^✕ release #1/);
    assert.match(await page.locator("link[rel=icon]").getAttribute("href"), /^data:image\/svg/);
    await page.locator(".node.failure", { hasText: "integration" }).click();
    const panel = page.getByRole("complementary", { name: "Job integration" });
    await panel.getByText("exit code 101").first().waitFor();
    await panel.getByLabel("Search the log").fill("case_120");
    await found(page, "1 of 1");
    await lineInView(page, "case_120 ... FAILED");
    // The link of the line: its address leads a fresh tab to the same place.
    await page.locator(".gutter a[data-line='120']").click();
    await page.waitForURL(/jobs\/integration.*line=120/);
    const again = await open();
    await again.goto(page.url());
    await lineInView(again, "case_120 ... FAILED");
  }));

test("the same by keyboard alone", (t) =>
  world.use(t, {}, async (_, open) => {
    const id = await world.submit(demo({ name: "by keyboard" }));
    const page = await open();
    await world.visit(page, `#/runs/${id}`);
    await page.locator("h1 .pill.failure").waitFor();
    await page.locator(".node.failure").waitFor();
    const focused = () =>
      page.evaluate(() => (document.activeElement?.matches(".node") ? document.activeElement.textContent : ""));
    // Tab until the graph has the focus: it is on the failed job.
    for (let i = 0; i < 40 && !/integration/.test(await focused()); i++) await page.keyboard.press("Tab");
    assert.match(await focused(), /integration, failure/);
    await page.keyboard.press("ArrowLeft");
    assert.match(await focused(), /build-(linux|arm)/);
    await page.keyboard.press("ArrowRight");
    for (let i = 0; i < 9 && !/integration/.test(await focused()); i++) await page.keyboard.press("ArrowDown");
    for (let i = 0; i < 9 && !/integration/.test(await focused()); i++) await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Enter");
    await page.getByRole("complementary", { name: "Job integration" }).waitFor();
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      if ((await page.evaluate(() => document.activeElement?.className)) === "log") break;
    }
    assert.equal(await page.evaluate(() => document.activeElement?.className), "log");
    await page.keyboard.press("/");
    await page.keyboard.type("case_120");
    await found(page, "1 of 1");
    await lineInView(page, "case_120 ... FAILED");
  }));

test("failed jobs run again, and a run is cancelled after a question that names it", (t) =>
  world.use(t, {}, async (_, open) => {
    const gate = world.gate();
    const jobs = {
      first: { run: "echo kept" },
      second: { needs: "first", run: `[ -e '${gate.file}' ] || exit 7` },
      third: { needs: "second", run: waiting(`${gate.file}-2`) },
    };
    const id = await world.submit({ name: "again", jobs });
    const page = await open();
    await world.visit(page, `#/runs/${id}`);
    await page.getByRole("button", { name: "Re-run failed" }).waitFor();
    gate.open();
    await page.getByRole("button", { name: "Re-run failed" }).click();
    await page.getByRole("heading", { name: "again #2" }).waitFor();
    await page.locator(".node.running", { hasText: "third" }).waitFor();
    await page.locator(".node.success", { hasText: "first" }).waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    const dialog = page.getByRole("dialog", { name: "Cancel again #2?" });
    await dialog.getByText("1 job will not be finished").waitFor();
    await dialog.getByRole("button", { name: "Keep it running" }).click();
    await page.locator(".node.running", { hasText: "third" }).waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await dialog.getByRole("button", { name: "Cancel the run" }).click();
    await page.locator("h1 .pill.cancelled").waitFor();
    await page.locator(".node.cancelled", { hasText: "third" }).waitFor();
  }));

test("a token that may only read has no button that changes something", async (t) => {
  const token = await world.token("reader", ["read"]);
  await world.use(t, { token }, async (_, open) => {
    const id = await world.submit(demo({ name: "read only" }));
    const page = await open();
    await world.visit(page, "#/runs");
    await runs(page).first().waitFor();
    assert.equal(await page.getByRole("link", { name: "New run" }).count(), 0);
    await world.visit(page, `#/runs/${id}`);
    await page.locator("h1 .pill.failure").waitFor();
    for (const name of ["Cancel", "Re-run", "Re-run failed", "Start"])
      assert.equal(await page.getByRole("button", { name }).count(), 0, name);
    await world.visit(page, "#/runs/new");
    await page.getByText("lacks the scope submit").waitFor();
  });
});

test("new runs wait for a click, and the list's filters are in its address", (t) =>
  world.use(t, {}, async (_, open) => {
    const first = await world.submit({ name: "list-one", jobs: { a: { run: "true" } } });
    const page = await open();
    await world.visit(page, "#/runs?q=list-");
    await page.locator(`tr[data-run='${first}'] .pill.success`).waitFor();
    const second = await world.submit({ name: "list-two", jobs: { a: { run: "exit 1" } } });
    const more = page.getByRole("button", { name: "Show 1 new run" });
    await more.waitFor();
    assert.equal(await runs(page).count(), 1);
    await more.click();
    await page.locator(`tr[data-run='${second}'] .pill.failure`).waitFor();
    await page.getByLabel("Status").selectOption("failure");
    await page.waitForURL(/status=failure/);
    await page.locator(`tr[data-run='${second}']`).waitFor();
    await page.locator(`tr[data-run='${first}']`).waitFor({ state: "detached" });
    await page.getByLabel("Find runs by name or id").fill("nothing like it");
    await page.getByText("No run matches").waitFor();
    assert.match(page.url(), /q=nothing\+like\+it/);
  }));

test("a job that waits says why, in the words of wfg why", (t) =>
  world.use(t, {}, async (_, open) => {
    const gate = world.gate();
    const jobs = {
      slow: { run: waiting(gate.file) },
      next: { needs: "slow", run: "true" },
      special: { labels: ["no-worker-has-this"], run: "true" },
    };
    const id = await world.submit({ name: "why", jobs });
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/next`);
    await page.getByText(/^next has waited for .*: slow isn't done\.$/).waitFor();
    await page.locator(".node", { hasText: "special" }).click();
    await page.getByText(/no worker online has all its labels \(no-worker-has-this\)/).waitFor();
    await page.getByText("start one: wfg worker --labels no-worker-has-this").waitFor();
    await world.api("POST", `api/workflows/${id}/cancel`);
  }));
