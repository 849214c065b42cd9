import assert from "node:assert/strict";
import { test } from "node:test";
import { extent, fittingWindow, nearestIndex, outwards, prepared, tickText, TIME_STEPS, WHOLE_STEPS } from "../../server/offcamd/web/static/points.js";

const curveAt = (...xs) => ({
  total: xs.length, decimated: false, first: xs.map((_, place) => place), count: xs.map(() => 1), xs, mean: xs.map((x) => x * 10),
  min: xs.map((x) => x - 1), max: xs.map((x) => x + 1), average: xs.map(() => null), recorded: { keys: [], reasons: [], pinned: [], numbers: [], xs: [], ys: [] },
});

test("a curve in order stays the one it is", () => {
  const curve = curveAt(0, 1, 1, 4);
  assert.equal(prepared(curve), curve);
});

test("a curve out of order is brought into it, each point whole", () => {
  const { first, xs, mean, min, max, count } = prepared(curveAt(3, 1, 2, 1));
  assert.deepEqual(xs, [1, 1, 2, 3]);
  assert.deepEqual(first, [1, 3, 2, 0]);
  assert.deepEqual([mean, min, max, count], [[10, 10, 20, 30], [0, 0, 1, 2], [2, 2, 3, 4], [1, 1, 1, 1]]);
});

test("the nearest place is that of the smallest distance, the latter of two", () => {
  const xs = [0, 1, 5, 5.5, 9];
  for (let x = -2; x < 12; x += 0.25) {
    const least = Math.min(...xs.map((other) => Math.abs(other - x)));
    assert.equal(Math.abs(xs[nearestIndex(xs, x)] - x), least, `of ${x}`);
  }
  assert.equal(nearestIndex([1, 3], 2), 1);
  assert.equal(nearestIndex([7], -100), 0);
  assert.equal(nearestIndex([], 1), -1);
});

test("the axis shows what was zoomed to, else all there is", () => {
  const curves = [curveAt(2, 8), curveAt(1, 5)];
  assert.deepEqual(extent(curves, { from: null, to: null }), [1, 8]);
  assert.deepEqual(extent(curves, { from: 0, to: null }), [0, 8]);
  assert.deepEqual(extent(curves, { from: 3, to: 4 }), [3, 4]);
});

test("one episode alone stands in the middle, and no axis is empty or turned round", () => {
  assert.deepEqual(extent([curveAt(7)], { from: null, to: null }), [6, 8]);
  assert.deepEqual(extent([curveAt(7)], { from: 20, to: 10 }), [19, 21]);
});

test("a zoom is rounded outwards", () => {
  assert.deepEqual(outwards(1.2, 3.4, "episode"), [1, 4]);
  assert.deepEqual(outwards(1.234, 3.411, "time"), [1.23, 3.42]);
});

test("ticks say whole numbers, or times", () => {
  assert.deepEqual([tickText(-1, 1, "episode"), tickText(1.5, 0.5, "episode"), tickText(20000, 10000, "step"), tickText(90, 30, "time")], ["", "", "20K", "1:30"]);
  for (const steps of [WHOLE_STEPS, TIME_STEPS]) assert.deepEqual([...steps].sort((one, other) => one - other), steps);
});

test("the average is over a tenth of the shortest run, as in `offcam plot` (test_the_default_window)", () => {
  assert.deepEqual([[0], [1], [19], [20], [500], [1000], [1e6], [1e6, 60]].map(fittingWindow), [1, 1, 1, 2, 50, 100, 100, 6]);
});
