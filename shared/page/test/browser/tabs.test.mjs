// Tabs, and who is signed in.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { waiting } from "./workflows.mjs";
import { World, logSays, signIn } from "./world.mjs";

let world;
before(async () => (world = await World.open()));
after(() => world.close());

test("eight tabs on one run all load, and all see its end", (t) =>
  world.use(t, {}, async (context, open) => {
    const gate = world.gate();
    const id = await world.submit({ name: "eight", jobs: { slow: { run: `echo begun; ${waiting(gate.file)}` } } });
    const pages = [];
    const times = [];
    for (let i = 0; i < 8; i++) {
      const page = await open();
      const start = Date.now();
      await world.visit(page, `#/runs/${id}/jobs/slow`);
      await logSays(page, "1 line, more may come");
      times.push(Date.now() - start);
      pages.push(page);
    }
    t.diagnostic(`ms until loaded: ${times.join(" ")}`);
    const held = await pages[0].evaluate(async () =>
      (await navigator.locks.query()).held.map(({ name }) => name).sort(),
    );
    assert.deepEqual(
      held,
      [0, 1, 2, 3].map((n) => `wfg-stream-${n}`),
    );
    gate.open();
    for (const page of pages) {
      await page.bringToFront();
      await page.locator("h1 .pill.success").waitFor();
    }
  }));

test("a second tab needs no sign-in, and a fresh browser does; the address stays", async (t) => {
  const token = await world.token("tabs", ["read", "submit"]);
  const id = await world.submit({ name: "address", jobs: { a: { run: "true" } } });
  await world.use(t, { token: null }, async (_, open) => {
    const first = await open();
    await world.visit(first, `#/runs/${id}/jobs/a`);
    await first.getByRole("heading", { name: "Sign in" }).waitFor();
    await signIn(first, "wfg_not_a_token");
    await first.getByText("The server doesn't know this token").waitFor();
    await signIn(first, token);
    await first.getByRole("complementary", { name: "Job a" }).waitFor();
    assert.match(first.url(), new RegExp(`#/runs/${id}/jobs/a$`));
    const second = await open();
    await world.visit(second, "#/workers");
    await second.getByRole("heading", { name: "Workers" }).waitFor();
    // Signing out ends it everywhere.
    await second.getByRole("button", { name: "Sign out" }).click();
    await first.getByRole("heading", { name: "Sign in" }).waitFor();
    assert.deepEqual(
      await first.evaluate(() => [
        sessionStorage.getItem("wfg-token"),
        document.cookie,
        localStorage.getItem("wfg-token"),
      ]),
      [null, "", null],
    );
  });
  await world.use(t, { token: null }, async (_, open) => {
    const fresh = await open();
    await world.visit(fresh, "#/runs");
    await fresh.getByRole("heading", { name: "Sign in" }).waitFor();
  });
});

test("a revoked token is signed out within a minute, and the next one leads back", async (t) => {
  const [token, next] = [
    await world.token("revoked", ["read", "submit"]),
    await world.token("next", ["read", "submit"]),
  ];
  await world.use(t, { token }, async (_, open) => {
    const page = await open();
    // A screen that asks for nothing by itself. The page's clock, not this machine's: nobody waits for the minute.
    await page.clock.install();
    await world.visit(page, "#/runs/new");
    await page.getByRole("heading", { name: "New run" }).waitFor();
    await world.revoke("revoked");
    await page.clock.runFor(60_000);
    await page.getByText("it has expired, or it was revoked").waitFor();
    await signIn(page, next);
    await page.getByRole("heading", { name: "New run" }).waitFor();
  });
});

test("without locks every tab asks from time to time", (t) =>
  world.use(t, {}, async (context, open) => {
    await context.addInitScript(() => Object.defineProperty(navigator, "locks", { value: undefined }));
    const gate = world.gate();
    const id = await world.submit({ name: "no locks", jobs: { slow: { run: waiting(gate.file) } } });
    const page = await open();
    await world.visit(page, `#/runs/${id}`);
    await page.getByText("asked every few seconds").waitFor();
    await page.locator(".node.running").waitFor();
    gate.open();
    await page.locator("h1 .pill.success").waitFor();
  }));
