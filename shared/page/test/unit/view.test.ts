import assert from "node:assert/strict";
import { test } from "node:test";
import { LARGEST, READABLE, SMALLEST, centre, fit, opening, reveal, zoomed } from "../../src/camera.ts";
import { Grid } from "../../src/grid.ts";
import { layout } from "../../src/layout.ts";
import { edgesOf, irregular } from "./graphs.ts";

const SIZES = { width: 176, height: 40, gapX: 56, gapY: 14 };
const WINDOW = { width: 1000, height: 600 };

test("fit shows the whole graph, never larger than at zoom 1", () => {
  assert.equal(fit({ width: 100, height: 50 }, WINDOW).zoom, 1);
  const far = fit({ width: 5000, height: 600 }, WINDOW);
  assert.ok(far.left >= 0 && far.left + 5000 * far.zoom <= 1000);
  assert.equal(fit({ width: 1e9, height: 1 }, WINDOW).zoom, SMALLEST);
});

test("a graph that would be too small to read opens at the place of interest", () => {
  assert.ok(opening({ width: 1200, height: 300 }, WINDOW, { x: 0, y: 0 }).zoom >= READABLE);
  const view = opening({ width: 9000, height: 9000 }, WINDOW, { x: 4500, y: 4500 });
  assert.ok(view.zoom >= READABLE);
  assert.ok(Math.abs(4500 * view.zoom + view.left - 500) < 1 && Math.abs(4500 * view.zoom + view.top - 300) < 1);
  assert.equal(opening({ width: 9000, height: 9000 }, WINDOW, { x: 0, y: 0 }).left, 16);
});

test("zooming keeps the point under the pointer, and stays within its limits", () => {
  const before = centre(500, 500, 1, { width: 2000, height: 2000 }, WINDOW);
  const after = zoomed(before, 1.5, 300, 200);
  const at = (view: typeof before) => [(300 - view.left) / view.zoom, (200 - view.top) / view.zoom];
  at(before).forEach((value, i) => assert.ok(Math.abs(value - at(after)[i]!) < 1e-9));
  assert.equal(zoomed(before, 100, 0, 0).zoom, LARGEST);
  assert.equal(zoomed(before, 0, 0, 0).zoom, SMALLEST);
});

test("a box that is in view is not moved, and another one comes into view", () => {
  const view = { zoom: 1, left: 0, top: 0 };
  assert.deepEqual(reveal(view, { x: 100, y: 100, width: 176, height: 40 }, WINDOW), view);
  const moved = reveal(view, { x: 1500, y: -300, width: 176, height: 40 }, WINDOW);
  assert.ok(1500 + 176 + moved.left <= 1000 && -300 + moved.top >= 0);
});

test("the boxes in a rectangle are those that touch it", () => {
  const jobs = irregular(500);
  const made = layout(jobs.length, edgesOf(jobs), SIZES);
  const grid = new Grid(made, SIZES);
  for (const [left, top, right, bottom] of [
    [0, 0, 500, 500],
    [300.5, 100, 301, 2000],
    [-9, -9, 1e6, 1e6],
    [1e6, 0, 2e6, 9],
  ] as const) {
    const touches = (box: number) =>
      made.x[box]! + SIZES.width >= left &&
      made.x[box]! <= right &&
      made.y[box]! + SIZES.height >= top &&
      made.y[box]! <= bottom;
    const expected = jobs.map((_, box) => box).filter(touches);
    assert.deepEqual(
      grid.within(left, top, right, bottom).sort((a, b) => a - b),
      expected,
    );
  }
});

test("a box is found at its place, and its neighbours in the column", () => {
  const jobs = irregular(200);
  const made = layout(jobs.length, edgesOf(jobs), SIZES);
  const grid = new Grid(made, SIZES);
  for (let box = 0; box < 200; box++) {
    assert.equal(grid.at(made.x[box]! + 5, made.y[box]! + 5), box);
    const below = grid.beside(box, 1);
    if (below === undefined) continue;
    assert.ok(made.x[below] === made.x[box] && made.y[below]! > made.y[box]!);
    assert.equal(grid.beside(below, -1), box);
  }
});
