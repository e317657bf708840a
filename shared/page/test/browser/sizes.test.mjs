// 20, 1,000 and 10,000 jobs, as chains, a fan and random needs: the bounds of the page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { chains, fan, irregular, waiting } from "./workflows.mjs";
import { World, drawn, elements } from "./world.mjs";

let world;
before(async () => (world = await World.open()));
after(() => world.close());

const MOST_ELEMENTS = 3000;

/** The median frame while the graph is dragged to and fro by real mouse events. */
async function panFrame(page) {
  const frame = await page.locator(".canvas").boundingBox();
  const [x, y] = [frame.x + frame.width / 2, frame.y + frame.height - 20];
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    const next = (now) => {
      window.frames_.push(now - last);
      last = now;
      if (window.frames_.length < 600) requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  });
  await page.mouse.move(x, y);
  await page.mouse.down();
  for (let i = 1; i <= 60; i++) await page.mouse.move(x + 150 * Math.sin(i / 4), y - 100 * Math.sin(i / 7));
  await page.mouse.up();
  return page.evaluate(() => window.frames_.sort((a, b) => a - b)[window.frames_.length >> 1]);
}

const frames = new Map();
for (const [kind, make] of Object.entries({ chains, fan, random: irregular })) {
  for (const count of [20, 1000, 10_000]) {
    test(`${count} jobs: ${kind}`, (t) =>
      world.use(t, {}, async (_, open) => {
        const workflow = make(count);
        const id = await world.submit(workflow, { run: false });
        const page = await open();
        const start = Date.now();
        await world.visit(page, `#/runs/${id}?tab=graph`);
        await page.locator(".node").first().waitFor();
        const first = Date.now() - start;
        await drawn(page);
        const most = [await elements(page)];
        frames.set(`${kind} ${count}`, await panFrame(page));
        most.push(await elements(page));
        await page.getByRole("button", { name: "Fit" }).click();
        await drawn(page);
        most.push(await elements(page));
        // The last job is found in the table, opened, and so is the first one on the last page.
        await page.getByRole("tab", { name: "Jobs" }).click();
        const last = Object.keys(workflow.jobs).at(-1);
        await page.getByText(`${count.toLocaleString("en")} of ${count.toLocaleString("en")}`).waitFor();
        most.push(await elements(page));
        await page.getByLabel("Filter jobs by name, label or worker").fill(last);
        await page.getByRole("button", { name: last, exact: true }).click();
        await page.getByRole("complementary", { name: `Job ${last}` }).waitFor();
        most.push(await elements(page));
        t.diagnostic(
          `first boxes after ${first} ms; frame ${frames.get(`${kind} ${count}`).toFixed(1)} ms; elements ${most.join(", ")}`,
        );
        assert.ok(Math.max(...most) <= MOST_ELEMENTS, `elements ${most.join(", ")}`);
      }));
  }
}

test("a frame with 10,000 jobs takes at most twice that of 20", () => {
  for (const kind of ["chains", "fan", "random"]) {
    const [small, large] = [frames.get(`${kind} 20`), frames.get(`${kind} 10000`)];
    assert.ok(large <= 2 * small, `${kind}: ${small} ms, ${large} ms`);
  }
});

test("every job of a run of 1,000 is on a page of the table", (t) =>
  world.use(t, {}, async (_, open) => {
    const workflow = irregular(1000);
    const id = await world.submit(workflow, { run: false });
    const page = await open();
    await world.visit(page, `#/runs/${id}?tab=jobs`);
    const seen = new Set();
    for (let n = 1; n <= 10; n++) {
      await page.getByText(`Page ${n} of 10`).waitFor();
      for (const name of await page.locator("tr[data-job] td:nth-child(2) button").allTextContents()) seen.add(name);
      if (n < 10) await page.getByRole("button", { name: "Next" }).click();
    }
    assert.deepEqual([...seen].sort(), Object.keys(workflow.jobs).sort());
  }));

test("a stack opens as a list, and its jobs are reached from there", (t) =>
  world.use(t, {}, async (_, open) => {
    const id = await world.submit(fan(1000), { run: false });
    const page = await open();
    await world.visit(page, `#/runs/${id}?tab=graph`);
    assert.equal(
      await page
        .locator(".node")
        .first()
        .waitFor()
        .then(() => page.locator(".node").count()),
      3,
    );
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Save as SVG" }).click();
    const file = await download;
    assert.equal(file.suggestedFilename(), "fan_of_1000-1.svg");
    assert.match(readFileSync(await file.path(), "utf8"), /^<svg .*shard-\* ×998.*<\/svg>\n$/s);
    await page.locator(".node.stack").click();
    const panel = page.getByRole("complementary", { name: "Stack shard-*" });
    await panel.getByText("×998").waitFor();
    await panel.getByLabel("Filter jobs by name, label or worker").fill("shard-777");
    await panel.getByRole("button", { name: "shard-777" }).click();
    await page.getByRole("complementary", { name: "Job shard-777" }).waitFor();
  }));

test("a change of one job is at most 400 bytes", async (t) => {
  const gate = world.gate();
  // Nothing needs `first`, and all others wait for a job that no worker takes: only `first` changes.
  const others = Object.entries(irregular(500).jobs).map(([job, settings]) => [job, { ...settings, needs: ["never"] }]);
  const jobs = {
    first: { run: waiting(gate.file) },
    never: { run: "true", labels: ["none-has-this"] },
    ...Object.fromEntries(others),
  };
  const id = await world.submit({ name: "bytes", jobs });
  const controller = new AbortController();
  const headers = { Authorization: `Bearer ${await world.token("bytes", ["read"])}` };
  const answer = await fetch(`${world.url}api/workflows/${id}/events`, { headers, signal: controller.signal });
  let text = "";
  const sizes = [];
  for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
    text += part;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events.filter((each) => each.includes("event: jobs"))) {
      const count = JSON.parse(event.match(/^data: (.*)$/m)[1]).jobs.length;
      if (count === 1) sizes.push(Buffer.byteLength(event) + 2);
    }
    if (sizes.length > 0) break;
    if (text === "") gate.open();
  }
  controller.abort();
  await world.api("POST", `api/workflows/${id}/cancel`);
  t.diagnostic(`one changed job: ${Math.max(...sizes)} bytes`);
  assert.ok(Math.max(...sizes) <= 400, sizes.join());
});
