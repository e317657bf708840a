import assert from "node:assert/strict";
import { test } from "node:test";
import { type Route, format, parse } from "../../src/route.ts";

const ROUTES: [string, Route][] = [
  ["#/runs", { screen: "runs", status: "", text: "" }],
  ["#/runs?status=failure&q=a%26b", { screen: "runs", status: "failure", text: "a&b" }],
  ["#/runs/new", { screen: "new" }],
  ["#/runs/wf-1", { screen: "run", id: "wf-1" }],
  ["#/runs/wf-1?tab=jobs", { screen: "run", id: "wf-1", tab: "jobs" }],
  ["#/runs/wf-1?stack=shard-*", { screen: "run", id: "wf-1", stack: "shard-*" }],
  ["#/runs/wf-1/jobs/a%2Fb%3F?attempt=1&line=120", { screen: "run", id: "wf-1", job: "a/b?", attempt: 1, line: 120 }],
  ["#/runs/wf-1/jobs/build?full=1", { screen: "run", id: "wf-1", job: "build", full: true }],
  ["#/workers", { screen: "workers" }],
  ["#/pools", { screen: "pools" }],
  ["#/forges", { screen: "forges" }],
  ["#/forges/acme", { screen: "forges", link: "acme" }],
  ["#/forges/a%2Fb%3F", { screen: "forges", link: "a/b?" }],
];

for (const [fragment, route] of ROUTES) {
  test(`fragment ${fragment} is read and written`, () => {
    assert.deepEqual(parse(fragment), route);
    assert.equal(format(route), fragment);
  });
}

test("an empty fragment is the list of runs", () => {
  for (const fragment of ["", "#", "#/"]) assert.deepEqual(parse(fragment), { screen: "runs", status: "", text: "" });
});

test("a bad fragment is unknown, never an error", () => {
  for (const fragment of [
    "#/nothing",
    "#/runs/%zz",
    "#/runs/a/jobs",
    "#/runs/a/b/c",
    "#/runs/a/jobs/b/c",
    "#/workers/1",
    "#/forges/acme/deliveries",
    "#<script>",
  ]) {
    assert.equal(parse(fragment).screen, "unknown", fragment);
  }
});

test("a bad value in the query is left out", () => {
  assert.deepEqual(parse("#/runs/a/jobs/b?attempt=-1&line=0&tab=x&full=yes"), { screen: "run", id: "a", job: "b" });
});
