import assert from "node:assert/strict";
import { test } from "node:test";
import { type Layout, layout } from "../../src/layout.ts";
import { type TestJob, chains, edgesOf, fan, irregular } from "./graphs.ts";

const SIZES = { width: 176, height: 40, gapX: 56, gapY: 14 };
const GRAPHS: Record<string, TestJob[]> = {
  "no job": [],
  "one job": [{ id: "a", needs: [], labels: [] }],
  "without needs": chains(50, 1),
  "a long edge": [
    { id: "a", needs: [], labels: [] },
    { id: "b", needs: [0], labels: [] },
    { id: "c", needs: [1], labels: [] },
    { id: "d", needs: [0, 2], labels: [] },
  ],
  chains: chains(10, 30),
  "one chain": chains(1, 1000),
  fan: fan(1000),
  irregular: irregular(1000),
  dense: irregular(400, 20, 400),
};

function run(jobs: TestJob[]): Layout {
  return layout(jobs.length, edgesOf(jobs), SIZES);
}

for (const [name, jobs] of Object.entries(GRAPHS)) {
  test(`boxes do not overlap: ${name}`, () => {
    const { x, y } = run(jobs);
    const columns = new Map<number, number[]>();
    x.forEach((left, i) => columns.set(left, [...(columns.get(left) ?? []), y[i]!]));
    for (const tops of columns.values()) {
      tops.sort((a, b) => a - b);
      for (let i = 1; i < tops.length; i++)
        assert.ok(tops[i]! - tops[i - 1]! >= SIZES.height, `${tops[i - 1]} ${tops[i]}`);
    }
    const lefts = [...columns.keys()].sort((a, b) => a - b);
    for (let i = 1; i < lefts.length; i++) assert.ok(lefts[i]! - lefts[i - 1]! >= SIZES.width);
  });

  test(`needs are to the left, and all is within the frame: ${name}`, () => {
    const made = run(jobs);
    jobs.forEach((job, i) => {
      for (const need of job.needs) assert.ok(made.x[need]! < made.x[i]!);
      assert.ok(made.x[i]! >= 0 && made.x[i]! + SIZES.width <= made.width + 0.01);
      assert.ok(made.y[i]! >= -0.01 && made.y[i]! + SIZES.height <= made.height + 0.01);
    });
  });

  test(`the same graph gives the same layout: ${name}`, () => {
    assert.deepEqual(run(jobs), run(jobs));
  });
}

test("an edge passes each layer between its ends", () => {
  const made = run(GRAPHS["a long edge"]!);
  assert.equal(made.viaStart.at(-1), 2);
  assert.ok(made.via[0]! > SIZES.width && made.via[0]! < made.via[2]!);
});

test("a cycle is an error", () => {
  assert.throws(() => layout(2, Int32Array.from([0, 1, 1, 0]), SIZES), /cycle/);
});

test("10,000 jobs take at most 20 times as long as 1,000, and 100,000 needs finish", (t) => {
  const time = (jobs: TestJob[]) => {
    const edges = edgesOf(jobs);
    let best = Infinity;
    for (let i = 0; i < 3; i++) {
      const start = process.cpuUsage();
      layout(jobs.length, edges, SIZES);
      const used = process.cpuUsage(start);
      best = Math.min(best, (used.user + used.system) / 1000);
    }
    return best;
  };
  time(irregular(1000));
  const small = time(irregular(1000));
  const large = time(irregular(10_000));
  const dense = irregular(10_000, 20, 10_000);
  const needs = edgesOf(dense).length / 2;
  const most = time(dense);
  t.diagnostic(
    `1,000 jobs: ${small.toFixed(0)} ms; 10,000: ${large.toFixed(0)} ms; ${needs} needs: ${most.toFixed(0)} ms`,
  );
  assert.ok(needs > 90_000);
  assert.ok(large / small <= 20, `${large} / ${small}`);
});
