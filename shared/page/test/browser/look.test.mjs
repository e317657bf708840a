// Every screen: clean by axe, in both themes, on a phone, in two time zones; and what goes wrong is said in words.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { axe } from "./checks.mjs";
import { demo, waiting } from "./workflows.mjs";
import { World, drawn, logSays } from "./world.mjs";

const PICTURE = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../../../docs/page.png");

let world;
let failed;
let waits;
before(async () => {
  world = await World.open();
  failed = await world.submit(demo());
  const gate = world.gate();
  waits = await world.submit({
    name: "waits",
    jobs: { slow: { run: waiting(gate.file) }, next: { needs: "slow", run: "true" } },
  });
});
after(async () => {
  await world.api("POST", `api/workflows/${waits}/cancel`);
  await world.close();
});

const SCREENS = {
  runs: ["#/runs", (page) => page.locator("tr[data-run]").first().waitFor()],
  "new run": ["#/runs/new", (page) => page.getByRole("button", { name: "Submit" }).waitFor()],
  graph: [() => `#/runs/${failed}?tab=graph`, (page) => page.locator(".node.failure").waitFor()],
  jobs: [() => `#/runs/${failed}?tab=jobs`, (page) => page.locator("tr[data-job]").first().waitFor()],
  timeline: [() => `#/runs/${failed}?tab=timeline`, (page) => page.locator(".track").first().waitFor()],
  job: [
    () => `#/runs/${failed}/jobs/integration?line=120`,
    (page) => page.locator(".gutter a[data-line='120']").waitFor(),
  ],
  "a job that waits": [() => `#/runs/${waits}/jobs/next`, (page) => page.getByText("next has waited for").waitFor()],
  log: [() => `#/runs/${failed}/jobs/integration?full=1`, (page) => logSays(page, "121 lines, complete")],
  workers: ["#/workers", (page) => page.locator("tbody tr").first().waitFor()],
  pools: ["#/pools", (page) => page.locator("tbody tr").first().waitFor()],
  "unknown address": ["#/nothing/here", (page) => page.getByText("Unknown address").waitFor()],
};

for (const theme of ["light", "dark"]) {
  for (const [width, height] of [
    [1360, 860],
    [390, 844],
  ]) {
    test(`axe finds nothing: ${theme}, ${width} px`, (t) =>
      world.use(t, { context: { colorScheme: theme, viewport: { width, height } } }, async (_, open) => {
        const page = await open();
        const found = [];
        for (const [name, [address, ready]] of Object.entries(SCREENS)) {
          const start = Date.now();
          await world.visit(page, typeof address === "string" ? address : address());
          await ready(page);
          await drawn(page);
          if (Date.now() - start > 5000) t.diagnostic(`${name} was there after ${Date.now() - start} ms`);
          found.push(...(await axe(page)).map((problem) => `${name}: ${problem}`));
          const wider = await page.evaluate(
            () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
          );
          if (wider > 0) found.push(`${name}: ${wider} px wider than the window`);
        }
        await page.getByRole("button", { name: "Sign out" }).click();
        await page.getByRole("heading", { name: "Sign in" }).waitFor();
        found.push(...(await axe(page)).map((problem) => `sign in: ${problem}`));
        assert.deepEqual(found, []);
      }));
  }
}

for (const [timezoneId, offset] of [
  ["America/New_York", "-05:00"],
  ["Asia/Kolkata", "+05:30"],
]) {
  test(`times are in the chosen zone on every screen: ${timezoneId}`, (t) =>
    world.use(t, { context: { timezoneId } }, async (_, open) => {
      const page = await open();
      const times = () => page.locator("time").evaluateAll((all) => all.map((time) => [time.title, time.textContent]));
      for (const address of ["#/runs", `#/runs/${failed}/jobs/integration`, "#/workers"]) {
        await world.visit(page, address);
        await page.locator("time").first().waitFor();
        for (const [title] of await times()) assert.ok(title.endsWith(offset) || title.endsWith("-04:00"), title);
      }
      await page.getByLabel("Times in").selectOption("utc");
      for (const address of [`#/runs/${failed}/jobs/integration`, "#/runs"]) {
        await world.visit(page, address);
        await page.locator("time").first().waitFor();
        for (const [title, text] of await times())
          assert.ok(title.endsWith(" UTC") && text.endsWith(" UTC"), `${title} ${text}`);
      }
    }));
}

test("the picture in docs/page.md and the README is made", (t) =>
  world.use(t, {}, async (_, open) => {
    const gate = world.gate();
    const workflow = demo();
    // One worker stays free: another run of this file holds one too.
    workflow.jobs["build-windows"].run = `echo compiling; ${waiting(gate.file)}`;
    const id = await world.submit(workflow);
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/integration?line=120`);
    await page.locator(".node.failure", { hasText: "integration" }).waitFor();
    await page.locator(".node.running", { hasText: "build-windows" }).waitFor();
    await page.locator(".gutter a[data-line='120']").waitFor();
    await drawn(page);
    // BLESS=1 replaces the picture. It is as high as the page, so that the line that failed is in it.
    await page.screenshot({ fullPage: true, ...(process.env.BLESS ? { path: PICTURE } : {}) });
    gate.open();
    await page.locator("h1 .pill.failure").waitFor();
  }));

test("a phone shows the jobs first, and a job in full width", (t) =>
  world.use(t, { context: { viewport: { width: 390, height: 844 }, hasTouch: true } }, async (_, open) => {
    const page = await open();
    await world.visit(page, `#/runs/${failed}`);
    await page.locator("tr[data-job]").first().waitFor();
    assert.equal(await page.getByRole("tab").first().textContent(), "Jobs");
    await page.getByRole("button", { name: "integration", exact: true }).tap();
    await logSays(page, "121 lines, complete");
    assert.equal(await page.getByRole("tab").count(), 0);
    await page.getByRole("button", { name: "Back to the run" }).tap();
    await page.getByRole("tab", { name: "Graph" }).tap();
    await page.locator(".node").first().waitFor();
    // A graph that would be too small to read is not shown whole.
    assert.ok((await page.locator(".node").first().boundingBox()).width >= 0.7 * 176);
  }));

test("what goes wrong is said in words", (t) =>
  world.use(t, {}, async (_, open) => {
    const page = await open();
    const says = async (address, text) => {
      await world.visit(page, address);
      await page.getByText(text).first().waitFor();
    };
    await says("#/runs/no-such-run", /no-such-run/);
    await page.getByRole("heading", { name: "Not found" }).waitFor();
    await says(`#/runs/${failed}/jobs/no-such-job`, "has no job `no-such-job`");
    await says("#/%zz", "This page has nothing at");
    await says("#/runs?q=nothing-has-this-name", "No run matches.");
    const answer = (status, code, message) => (route) =>
      route.fulfill({ status, contentType: "application/json", body: JSON.stringify({ error: { code, message } }) });
    await page.route(
      "**/api/workers",
      answer(403, "forbidden", "this needs the scope `read`, which the token `x` lacks"),
    );
    await says("#/workers", /needs the scope `read`/);
    await page.getByRole("heading", { name: "Not allowed" }).waitFor();
    await page.route("**/api/pools", (route) => route.fulfill({ json: [] }));
    await says("#/pools", "No pool");
    await page.route("**/api/workflows?view=summary*", (route) => route.fulfill({ json: [] }));
    await says("#/runs", "No runs yet");
    await page.route("**/api/workflows?run=true", answer(413, "body_too_large", "the body is over 4500000 bytes"));
    await world.visit(page, "#/runs/new");
    await page.getByLabel("Workflow in YAML or JSON").fill("name: large");
    await page.getByRole("button", { name: "Submit" }).click();
    await page.getByRole("heading", { name: "The workflow is too large" }).waitFor();
    await page.getByText("The body is over 4500000 bytes.").waitFor();
    // Details that the server left out are named, and can be asked for.
    const job = await world.api("GET", `api/workflows/${failed}/jobs/integration`);
    await page.route("**/jobs/integration", (route) =>
      route.fulfill({ json: { ...job, outputs: {}, outputs_truncated: true } }),
    );
    await page.route("**/jobs/integration/outputs*", (route) =>
      route.fulfill({ json: { big: "value of the output" } }),
    );
    await world.visit(page, `#/runs/${failed}/jobs/integration`);
    await page.getByText("Large outputs are left out here.").waitFor();
    await page.getByRole("button", { name: "Show all outputs" }).click();
    await page.getByText("value of the output").waitFor();
  }));

test("a workflow that is deleted while it is shown is said in words", (t) =>
  world.use(t, {}, async (_, open) => {
    const id = await world.submit({ name: "deleted", jobs: { a: { run: "true" } } });
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/a`);
    await logSays(page, "0 lines, complete");
    await world.api("DELETE", `api/workflows/${id}`);
    await world.visit(page, `#/runs`);
    // Without the list in between, the page would stay on the run, and ask for it again only after half a minute.
    await page.locator("tr[data-run]").first().waitFor();
    await world.visit(page, `#/runs/${id}`);
    await page.getByRole("heading", { name: "Not found" }).waitFor();
  }));

test("changes are announced, and not more often than every 5 s", (t) =>
  world.use(t, {}, async (_, open) => {
    const page = await open();
    await page.clock.install();
    const gates = [world.gate(), world.gate()];
    const id = await world.submit({
      name: "said",
      jobs: { a: { run: waiting(gates[0].file) }, b: { needs: "a", run: waiting(gates[1].file) } },
    });
    await world.visit(page, `#/runs/${id}?tab=jobs`);
    await page.locator("[data-job='0'] .pill.running").waitFor();
    const said = page.locator("p.sr[role=status]");
    await page.clock.runFor(100);
    await said.getByText("said: running, 0 of 2 jobs done").waitFor();
    gates[0].open();
    await page.locator("[data-job='1'] .pill.running").waitFor();
    await page.clock.runFor(1000);
    assert.match(await said.textContent(), /0 of 2 jobs done/);
    await page.clock.runFor(5000);
    await said.getByText("1 of 2 jobs done").waitFor();
    gates[1].open();
    await page.locator("h1 .pill.success").waitFor();
  }));
