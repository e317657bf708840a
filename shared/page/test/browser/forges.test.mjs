// What a forge delivers is listed, and a fork's commit approved: over a real server and a forge of the tests' own.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SCRIPT, assertTextOnly, axe } from "./checks.mjs";
import { Gitea, REPOSITORY, SECRETS, commit } from "./gitea.mjs";
import { PUBLIC_URL } from "./installation.mjs";
import { World, drawn } from "./world.mjs";

const forge = new Gitea();
let world;
before(async () => {
  await forge.open();
  world = await World.open({ secrets: SECRETS });
});
after(async () => {
  await world.close();
  await forge.close();
});

/** A test that needs a link. The stand-in has none, and another server's forge can't be made to move. */
function linked(name, body) {
  test(name, (t) => (world.hasForges ? body(t) : t.skip("this server has no link to the tests' forge")));
}

const rows = (page) => page.locator("tbody tr");
/** The row of a delivery of a commit: its title has the whole id. */
const row = (page, letter, event = "pull_request") =>
  rows(page)
    .filter({ has: page.locator(`code[title="${commit(letter)}"]`) })
    .filter({ hasText: event });
const approveIn = (place) => place.getByRole("button", { name: "Approve" });
const over = /It waits no more/;

/** Presses a key until the focus is on a button of this name. */
async function reach(page, name, key = "Tab") {
  const focused = () => page.evaluate(() => document.activeElement?.textContent ?? "");
  for (let i = 0; i < 60 && !(await focused()).startsWith(name); i++) await page.keyboard.press(key);
  assert.ok((await focused()).startsWith(name), await focused());
}

linked("without a link there is no entry, and a link makes one", (t) =>
  world.use(t, {}, async (_, open) => {
    const page = await open();
    await world.visit(page, "#/forges");
    await page.getByText("No link").waitFor();
    assert.equal(await page.getByRole("navigation").getByRole("link", { name: "Forges" }).count(), 0);
    await world.api("PUT", "api/forges/acme", forge.link());
    // The only link is shown at once.
    await page.getByRole("heading", { name: "Deliveries of acme" }).waitFor();
    await page.getByText("Nothing came in yet").waitFor();
    await page.reload();
    await page.getByRole("navigation").getByRole("link", { name: "Forges" }).waitFor();
  }),
);

linked("a fork's commit is approved by keyboard, and runs", (t) =>
  world.use(t, {}, async (_, open) => {
    await forge.proposes(world.url, 12, commit("b"));
    const page = await open();
    await world.visit(page, "#/runs");
    await page.getByRole("navigation").getByRole("link", { name: "Forges" }).click();
    await approveIn(row(page, "b")).waitFor();
    const told = forge.states.find((state) => state.commit === commit("b"));
    assert.deepEqual([told.state, told.target_url], ["pending", `${PUBLIC_URL}/#/forges/acme`]);
    await reach(page, "Approve");
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: `Approve ${REPOSITORY}#12?` });
    await dialog.getByText(commit("b")).waitFor();
    await dialog.getByText("rights: [{event: fork").waitFor();
    assert.deepEqual(await axe(page), []);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    assert.deepEqual(await world.api("GET", "api/workflows"), []);
    await reach(page, "Approve");
    await page.keyboard.press("Enter");
    await reach(page, "Approve this commit");
    await page.keyboard.press("Enter");
    await page.getByRole("status").filter({ hasText: "Approved: acme/app#12" }).waitFor();
    await row(page, "b").filter({ hasText: over }).waitFor();
    assert.equal(await approveIn(page).count(), 0);
    const started = row(page, "b", "approve").filter({ hasText: "accepted" });
    await started.getByRole("link").click();
    await page.locator("h1 .pill.success").waitFor();
  }),
);

linked("a token without the scope has no button", async (t) => {
  await forge.proposes(world.url, 13, commit("c"));
  const token = await world.token("reader", ["read"]);
  await world.use(t, { token }, async (_, open) => {
    const page = await open();
    await world.visit(page, "#/forges/acme");
    await row(page, "c").filter({ hasText: "wfg forge approve" }).waitFor();
    assert.equal(await approveIn(page).count(), 0);
  });
});

linked("another head is refused with 409 and named, and its own delivery has the button", (t) =>
  world.use(t, {}, async (_, open) => {
    await forge.proposes(world.url, 14, commit("d"));
    const page = await open();
    await world.visit(page, "#/forges/acme");
    await approveIn(row(page, "d")).click();
    forge.moves(14, commit("e"));
    await page.getByRole("button", { name: "Approve this commit" }).click();
    await page
      .getByRole("alert")
      .filter({ hasText: `The pull request is at ${commit("e")} now` })
      .waitFor();
    await forge.proposes(world.url, 14, commit("e"), "synchronized");
    await approveIn(row(page, "e")).waitFor();
    await row(page, "d").filter({ hasText: over }).waitFor();
    assert.equal(await approveIn(row(page, "d")).count(), 0);
    // Somebody else is faster.
    await approveIn(row(page, "e")).click();
    await world.api("POST", "api/forges/acme/approve", {
      repository: REPOSITORY,
      pull_request: 14,
      commit: commit("e"),
    });
    await page.getByRole("button", { name: "Approve this commit" }).click();
    await page.getByRole("status").filter({ hasText: "It was approved before." }).waitFor();
    await row(page, "e").filter({ hasText: over }).waitFor();
  }),
);

linked("what the server refuses is said in words", (t) =>
  world.use(t, {}, async (_, open) => {
    await forge.proposes(world.url, 15, commit("f"));
    const page = await open();
    await world.visit(page, "#/forges/acme");
    await approveIn(row(page, "f")).click();
    await page.route("**/api/forges/acme/approve", (route) =>
      route.fulfill({
        status: 403,
        json: { error: { code: "labels_not_allowed", message: "the token doesn't allow the label `untrusted`" } },
      }),
    );
    await page.getByRole("button", { name: "Approve this commit" }).click();
    await page.getByRole("alert").filter({ hasText: "doesn't allow the label" }).waitFor();
    await page.unroute("**/api/forges/acme/approve");
    await approveIn(row(page, "f")).click();
    forge.drops(15);
    await page.getByRole("button", { name: "Approve this commit" }).click();
    await page.getByRole("alert").filter({ hasText: "has no pull request #15" }).waitFor();
    await world.visit(page, "#/forges/nobody");
    await page.getByRole("heading", { name: "Not found" }).waitFor();
  }),
);

linked("refs, repositories and reasons of others are only text", (t) =>
  world.use(t, {}, async (_, open) => {
    const page = await open();
    page.on("dialog", (dialog) => assert.fail(`a script ran: ${dialog.message()}`));
    const name = "<script>alert(1)</script>\u202egnp\u2066";
    await forge.pushes(world.url, name, commit("1"));
    forge.refusal = `${SCRIPT} safe\u202egnp.exe`;
    await forge.pushes(world.url, "topic", commit("2"), `${SCRIPT}\u202e`);
    await world.visit(page, "#/forges/acme");
    await row(page, "1", "push").filter({ hasText: "\\u{202e}gnp\\u{2066}" }).waitFor();
    await row(page, "2", "push").filter({ hasText: "safe\\u{202e}gnp.exe" }).waitFor();
    await assertTextOnly(page);
    await world.visit(page, `#/forges/${encodeURIComponent(`${SCRIPT}\u202e`)}`);
    await page.getByRole("heading", { name: "Deliveries of" }).waitFor();
    await assertTextOnly(page);
  }),
);

for (const colorScheme of ["light", "dark"]) {
  for (const width of [1360, 390]) {
    linked(`axe finds nothing: ${colorScheme}, ${width} px`, (t) =>
      world.use(t, { context: { colorScheme, viewport: { width, height: 860 } } }, async (_, open) => {
        await world.api("PUT", "api/forges/other", forge.link());
        const page = await open();
        await world.visit(page, "#/forges");
        await page.getByRole("link", { name: "other" }).waitFor();
        await drawn(page);
        const found = await axe(page);
        await page.getByRole("link", { name: "acme" }).click();
        await rows(page).nth(5).waitFor();
        await drawn(page);
        found.push(...(await axe(page)));
        await approveIn(row(page, "c")).click();
        await page.getByRole("dialog").getByText("rights: [").waitFor();
        found.push(...(await axe(page)));
        const wider = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        assert.deepEqual([found, wider], [[], 0]);
      }),
    );
  }
}
