// A log of 100,000 lines: found, searched, selected and followed, with few elements.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { World, drawn, elements, logSays, found } from "./world.mjs";

let world;
before(async () => (world = await World.open()));
after(() => world.close());

/** A job that writes this many lines, waits, and then writes 50 more. */
const writes = (lines, gate, more = "") =>
  `seq -f 'line %.0f of the log, with a few words more' ${lines}; ${more} until [ -e '${gate}' ]; do sleep 0.05; done; seq -f 'later line %.0f' 50`;
const inLog = (page, read) => page.evaluate(read);
const lines = (page, text) => logSays(page, `${text} lines`);
const medianFrame = (page, steps) =>
  page.evaluate(async (count) => {
    const log = document.querySelector(".log");
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const times = [];
    const end = log.scrollHeight - log.clientHeight;
    let last = await frame();
    for (let i = 0; i < count; i++) {
      log.scrollTop = (i % 2 ? end : 0) + (i % 2 ? -1 : 1) * Math.min(end, i * 400);
      const now = await frame();
      times.push(now - last);
      last = now;
    }
    return times.sort((a, b) => a - b)[count >> 1];
  }, steps);

test("a line of 100,000 is found by search and by the browser, and a selection outlives scrolling", (t) =>
  world.use(t, {}, async (_, open) => {
    const gate = world.gate();
    const id = await world.submit({
      name: "long log",
      jobs: { talk: { run: writes(100_000, gate.file, "echo 'and one more';") } },
    });
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/talk?full=1`);
    await lines(page, "100,001");
    const count = await elements(page);
    t.diagnostic(`${count} elements with 100,000 lines`);
    assert.ok(count <= 3000, `${count} elements`);
    await page.getByLabel("Search the log").fill("line 73123 of");
    await found(page, "1 of 1");
    await page.locator(".gutter a[data-line='73,123']").waitFor();
    // The browser's own search.
    assert.equal(await inLog(page, () => window.find("line 50123 of")), true);
    assert.equal(await inLog(page, () => getSelection().toString()), "line 50123 of");
    await inLog(page, () => (document.querySelector(".log").scrollTop = 0));
    await page.locator(".gutter a[data-line='1']").waitFor();
    assert.equal(await inLog(page, () => getSelection().toString()), "line 50123 of");
    // A selection in the last lines, after which more arrive.
    await inLog(page, () => (document.querySelector(".log").scrollTop = 1e9));
    assert.equal(await inLog(page, () => window.find("and one more", false, false, true)), true);
    gate.open();
    await logSays(page, "100,051 lines, complete");
    assert.equal(await inLog(page, () => getSelection().toString()), "and one more");
  }));

test("scrolled up the place holds while lines arrive; Follow goes to the end; a pause holds lines back", (t) =>
  world.use(t, {}, async (_, open) => {
    const [more, rest] = [world.gate(), world.gate()];
    const run = `${writes(5000, more.file)}; until [ -e '${rest.file}' ]; do sleep 0.05; done; seq -f 'rest %.0f' 30; until [ -e '${rest.file}-2' ]; do sleep 0.05; done`;
    const id = await world.submit({ name: "place", jobs: { talk: { run } } });
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/talk?full=1`);
    await lines(page, "5,000");
    const follow = page.getByRole("button", { name: "Follow" });
    assert.equal(await follow.getAttribute("aria-pressed"), "true");
    await page.locator(".gutter a[data-line='5,000']").waitFor();
    await page.locator(".log").hover();
    await page.mouse.wheel(0, -4000);
    await page.locator(".log-panel button[aria-pressed='false']", { hasText: "Follow" }).waitFor();
    await drawn(page);
    const place = () =>
      inLog(page, () => [document.querySelector(".log").scrollTop, document.querySelector(".gutter a").dataset.line]);
    const held = await place();
    more.open();
    await lines(page, "5,050");
    await drawn(page);
    assert.deepEqual(await place(), held);
    await follow.click();
    await page.locator(".gutter a[data-line='5,050']").waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    rest.open();
    await page.getByRole("button", { name: "Pause (30 new)" }).waitFor();
    assert.equal(await page.locator(".gutter a[data-line='5,080']").count(), 0);
    await page.getByRole("button", { name: "Pause (30 new)" }).click();
    await page.locator(".gutter a[data-line='5,080']").waitFor();
    await world.api("POST", `api/workflows/${id}/cancel`);
  }));

test("scrolling 100,000 lines takes at most twice the frame of 1,000", (t) =>
  world.use(t, {}, async (_, open) => {
    const frames = [];
    for (const count of [1000, 100_000]) {
      const id = await world.submit({
        name: `${count} lines`,
        jobs: { talk: { run: `for i in 1; do seq -f 'line %.0f' ${count}; done` } },
      });
      const page = await open();
      await world.visit(page, `#/runs/${id}/jobs/talk?full=1`);
      await logSays(page, `${count.toLocaleString("en")} lines, complete`);
      frames.push(await medianFrame(page, 60));
      await page.close();
    }
    t.diagnostic(`median frame: 1,000 lines ${frames[0].toFixed(1)} ms, 100,000 lines ${frames[1].toFixed(1)} ms`);
    assert.ok(frames[1] <= 2 * frames[0], frames.join(" "));
  }));

test("colours, wrapped lines, times and links are shown without a change of the text", (t) =>
  world.use(t, {}, async (_, open) => {
    const run = [
      "printf '\\033[31mred\\033[0m \\033[38;5;208morange\\033[0m \\033[48;2;0;90;0mgreen\\033[0m\\n'",
      "printf '10%%\\r50%%\\r100%% done\\n'",
      "printf '\\033]8;;https://example.org/x\\033\\\\a link\\033]8;;\\033\\\\ and \\033]8;;javascript:alert(1)\\033\\\\no link\\033]8;;\\033\\\\\\n'",
      "printf 'wide %s end\\n' \"$(seq -s ' ' 400)\"",
    ].join("; ");
    const id = await world.submit({ name: "colours", jobs: { talk: { run } } });
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/talk?full=1`);
    await logSays(page, "4 lines, complete");
    const text = await page.locator(".log pre").first().textContent();
    assert.match(text, /^red orange green\n100% done\na link and no link\nwide 1 2/);
    const styles = await inLog(page, () =>
      [...CSS.highlights]
        .filter(([name]) => name.startsWith("wfg-s"))
        .flatMap(([, ranges]) =>
          [...ranges].map((range) => range.startContainer.data.slice(range.startOffset, range.endOffset)),
        ),
    );
    assert.deepEqual(styles.sort(), ["green", "orange", "red"]);
    await page.getByText("Links in the log (1)").click();
    assert.equal(await page.getByRole("link", { name: "a link" }).getAttribute("href"), "https://example.org/x");
    const height = () => inLog(page, () => document.querySelector(".log pre").offsetHeight);
    const before = await height();
    await page.getByRole("button", { name: "Wrap" }).click();
    await drawn(page);
    assert.ok((await height()) > before);
    await page.getByRole("button", { name: "Times" }).click();
    await page.locator(".gutter a[data-time]").first().waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download" }).click();
    assert.equal((await download).suggestedFilename(), "talk-1.log");
  }));

test("of a log that is too long the first lines and the latest are kept, and the gap is named", (t) =>
  world.use(t, {}, async (_, open) => {
    const id = await world.submit({ name: "too long", jobs: { talk: { run: "seq -f 'line %.0f' 215000" } } });
    const page = await open();
    await world.visit(page, `#/runs/${id}/jobs/talk?full=1`);
    await logSays(page, "215,000 lines, complete");
    await page.locator(".gutter a[data-line='215,000']").waitFor();
    assert.match(await page.locator(".gap").textContent(), /^15,000 lines are not shown here/);
    const around = await inLog(page, () => {
      const gap = document.querySelector(".gap");
      return [
        gap.previousElementSibling.textContent.trim().split("\n").at(-1),
        gap.nextElementSibling.textContent.split("\n")[0],
      ];
    });
    assert.deepEqual(around, ["line 5000", "line 20001"]);
    const count = await elements(page);
    t.diagnostic(`${count} elements with 200,000 lines kept`);
    assert.ok(count <= 3000, `${count} elements`);
  }));
