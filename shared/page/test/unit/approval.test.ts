import assert from "node:assert/strict";
import { test } from "node:test";
import type { Delivery } from "../../src/api.ts";
import { waiting } from "../../src/approval.ts";

let at = 0;
function delivery(event: string, state: string, commit: string | undefined, more: Partial<Delivery> = {}): Delivery {
  const it: Delivery = { id: String(++at), at_ms: at, repository: "acme/app", event, state, ref: "#12", workflows: [] };
  return { ...it, ...(commit === undefined ? {} : { commit }), ...more };
}
const pull = (state: string, commit?: string, more?: Partial<Delivery>) =>
  delivery("pull_request", state, commit, more);
const approve = (state: string, commit: string, more?: Partial<Delivery>) => delivery("approve", state, commit, more);

/** The commits that wait, of deliveries in the order in which they came. */
const waits = (...oldestFirst: Delivery[]) => [...waiting(oldestFirst.reverse())].map((each) => each.commit);

test("a held commit waits until it is approved, whatever became of the approval", () => {
  assert.deepEqual(waits(pull("held", "b")), ["b"]);
  for (const state of ["new", "accepted", "ignored", "late"])
    assert.deepEqual(waits(pull("held", "b"), approve(state, "b")), [], state);
});

test("the forge's button names no pull request, and does nothing for somebody who may not write", () => {
  const button = { repository: "acme/app", state: "accepted", event: "approve", commit: "b" };
  const pressed = (state: string): Delivery => ({ ...button, id: state, at_ms: 0, workflows: [], state });
  assert.deepEqual(waits(pull("held", "b"), pressed("accepted")), []);
  assert.deepEqual(waits(pull("held", "b"), pressed("failed")), ["b"]);
});

test("of several commits only the head waits, and an approval is for one commit", () => {
  assert.deepEqual(waits(pull("held", "b"), pull("held", "c")), ["c"]);
  assert.deepEqual(waits(pull("held", "b"), approve("accepted", "b"), pull("held", "c")), ["c"]);
  assert.deepEqual(waits(pull("held", "b"), pull("new", "c")), []);
  assert.deepEqual(waits(pull("held", "b"), pull("failed", "c")), []);
  // A force push back to the first one holds it again.
  assert.deepEqual(waits(pull("held", "b"), pull("held", "c"), pull("held", "b")), ["b"]);
});

test("what is held twice has one button, and what was accepted since has none", () => {
  const [first, second] = [pull("held", "b"), pull("held", "b")];
  assert.deepEqual([...waiting([second, first])], [second]);
  assert.deepEqual(waits(pull("held", "b"), pull("accepted", "b"), pull("repeat", "b")), []);
});

test("a repeated or late delivery changes nothing", () => {
  assert.deepEqual(waits(pull("held", "b"), pull("repeat", "b"), pull("late", "a"), pull("late")), ["b"]);
});

test("a pull request that was closed waits again once it is opened again", () => {
  assert.deepEqual(waits(pull("held", "b"), pull("ignored", "b")), []);
  assert.deepEqual(waits(pull("held", "b"), pull("ignored", "b"), pull("repeat", "b")), ["b"]);
});

test("pull requests, and repositories that share a link, are told apart", () => {
  const other = { ref: "#13" };
  assert.deepEqual(waits(pull("held", "b"), pull("held", "c", other), approve("accepted", "b", other)), ["c", "b"]);
  assert.deepEqual(waits(pull("held", "b"), pull("held", "c", { repository: "acme/lib" })), ["c", "b"]);
  assert.deepEqual(waits(pull("held", "b"), delivery("push", "accepted", "c", { ref: "refs/heads/main" })), ["b"]);
  const again: Delivery = {
    id: "r",
    at_ms: 0,
    workflows: [],
    repository: "acme/app",
    event: "rerequested",
    state: "accepted",
  };
  assert.deepEqual(waits(pull("held", "b"), { ...again, commit: "b" }), ["b"]);
});
