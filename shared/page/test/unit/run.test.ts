import assert from "node:assert/strict";
import { test } from "node:test";
import type { Graph, Status } from "../../src/api.ts";
import { boxesOf, countsOf, related, worstOf } from "../../src/boxes.ts";
import { layout } from "../../src/layout.ts";
import { Run } from "../../src/run.ts";
import { svg } from "../../src/svg.ts";

const GRAPH: Graph = {
  run: 2,
  labels: [[], ["gpu"]],
  stacks: ["shard-*"],
  jobs: [
    ["split", null, [], 0, null],
    ["shard-1", null, [0], 1, 0],
    ["shard-2", null, [0], 1, 0],
    ["merge", "Merge", [1, 2], 0, null],
    ["<script>\u202e", null, [], 0, null],
  ],
};

function run(): Run {
  const made = new Run("wf-1", GRAPH);
  made.snapshot({
    run: 2,
    name: "release",
    status: "running",
    created_at_ms: 900,
    started_at_ms: 1000,
    finished_at_ms: null,
    jobs: [
      [0, "success", 0, 1000, 1100, 2000, "w1"],
      [1, "success", 0, 2000, 2100, 4000, "w1"],
      [2, "running", 1, 2000, 2500, null, "w2"],
      [3, "queued", 0, null, null, null, null],
      [4, "success", 0, 1000, 1000, 9000, "w3"],
    ],
  });
  return made;
}

test("changes move the counts and the times", () => {
  const made = run();
  assert.deepEqual(made.counts, { failure: 0, running: 1, queued: 1, cancelled: 0, skipped: 0, success: 3 });
  assert.equal(made.done, 3);
  assert.equal(made.waited(1, 5000), 100);
  assert.equal(made.took(1, 5000), 1900);
  assert.equal(made.took(2, 5000), 2500);
  assert.equal(made.took(3, 5000), undefined);
  made.apply([
    [2, "failure", 1, 2000, 2500, 5000, "w2"],
    [3, "skipped", 0, null, null, 5000, null],
    [99, "running", 0, 1, 1, 1, "w"],
  ]);
  assert.deepEqual(made.counts, { failure: 1, running: 0, queued: 0, cancelled: 0, skipped: 1, success: 3 });
  assert.equal(made.firstOfInterest(), 2);
  assert.equal(made.waited(3, 9000), undefined);
});

test("the critical path ends at the job that has run the longest, and follows the needs that ended last", () => {
  const made = run();
  assert.deepEqual(made.criticalPath(), [0, 2]);
  made.apply([
    [2, "success", 1, 2000, 2500, 9500, "w2"],
    [3, "success", 0, 9500, 9600, 9700, "w1"],
  ]);
  assert.deepEqual(made.criticalPath(), [0, 2, 3]);
  assert.deepEqual(new Run("x", GRAPH).criticalPath(), []);
});

test("a stack is one box with the most urgent status of its jobs", () => {
  const made = run();
  const boxes = boxesOf(GRAPH);
  assert.deepEqual(boxes.names, ["split", "shard-*", "merge", "<script>\u202e"]);
  assert.deepEqual([...boxes.ofJob], [0, 1, 1, 2, 3]);
  assert.deepEqual([...boxes.edges], [0, 1, 1, 2]);
  assert.equal(countsOf(boxes, 1, made).success, 1);
  const worst = (status: Status) => {
    made.apply([[1, status, 0, 1, 2, 3, null]]);
    return worstOf(boxes, 1, made);
  };
  assert.deepEqual([worst("success"), worst("failure"), worst("queued")], [1, 0, 1]);
});

test("what a box needs and what needs it are found over any distance, and nothing else", () => {
  const boxes = boxesOf(GRAPH);
  assert.deepEqual([...related(boxes, 0)], [1, 1, 1, 0]);
  assert.deepEqual([...related(boxes, 2)], [1, 1, 1, 0]);
  assert.deepEqual([...related(boxes, 3)], [0, 0, 0, 1]);
});

test("the SVG file holds names as text only", () => {
  const sizes = { width: 176, height: 40, gapX: 56, gapY: 14 };
  const boxes = boxesOf(GRAPH);
  const text = svg(boxes, layout(boxes.count, boxes.edges, sizes), run(), sizes);
  assert.ok(!text.includes("<script") && !text.includes("\u202e"));
  assert.ok(text.includes("&#60;script&#62;\\u{202e}"));
  assert.ok(text.includes("shard-* ×2") && text.includes("release #2"));
  assert.equal(text.match(/<g /g)!.length, 4);
});
