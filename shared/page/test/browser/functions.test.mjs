// A server of functions: it holds no stream, and may have a stage in its path. `cargo xtask test` runs this file on MiniStack, too.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { waiting } from "./workflows.mjs";
import { World, logSays, signIn } from "./world.mjs";

let world;
before(async () => (world = await World.open()));
after(() => world.close());

test("a server that holds no stream is asked again, from where the page is", async (t) => {
  world.holdNothing(true);
  t.after(() => world.holdNothing(false));
  const token = await world.token("functions", ["read"]);
  await world.use(t, { token: null }, async (context, open) => {
    const [first, last] = [world.gate(), world.gate()];
    const talk = `seq -f 'before %.0f' 200; ${waiting(first.file)}; seq -f 'after %.0f' 200; ${waiting(last.file)}`;
    const id = await world.submit({
      name: "functions",
      jobs: { talk: { run: talk }, next: { needs: "talk", run: "echo last" } },
    });
    const asked = [];
    context.on("request", (request) => asked.push(request.url()));
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/talk`);
    await signIn(page, token);
    await page.locator(".node.running", { hasText: "talk" }).waitFor();
    await page.locator(".node.queued", { hasText: "next" }).waitFor();
    await logSays(page, "200 lines, more may come");
    first.open();
    await logSays(page, "401 lines, more may come");
    last.open();
    await page.locator(".node.success", { hasText: "next" }).waitFor();
    await page.locator("h1 .pill.success").waitFor();
    await logSays(page, "402 lines, complete");
    const text = (await page.locator(".log pre").allTextContents()).join("");
    const numbers = (word) => Array.from({ length: 200 }, (_, i) => `${word} ${i + 1}`);
    assert.equal(text, [...numbers("before"), "opened", ...numbers("after"), "opened", ""].join("\n"));
    assert.equal(await page.locator(".banner").count(), 0);
    const count = (what) => asked.filter((url) => url.includes(`/${id}/`) && url.includes(what)).length;
    t.diagnostic(`${count("/events")} requests for events, ${count("/logs/stream")} for the log`);
    if (!world.holdsStreams) for (const what of ["/events", "/logs/stream"]) assert.ok(count(what) > 1, what);
  });
});
