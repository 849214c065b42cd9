import assert from "node:assert/strict";
import { test } from "node:test";
import { endOf, leaderAt, placesOf } from "../../server/offcamd/web/static/alignment.js";
import { byPixel, tiling } from "../../server/offcamd/web/static/tiling.js";

const films = [{ duration: 4, event: 1 }, { duration: 2, event: null }, { duration: 8, event: 5 }];
const laid = (align) => placesOf(films, align).map((place, at) => ({ ...films[at], ...place }));

test("clips begin, or end, or are half over together", () => {
  assert.deepEqual(laid("start").map(({ offset, rate }) => [offset, rate]), [[0, 1], [0, 1], [0, 1]]);
  assert.deepEqual(laid("end").map(({ offset }) => offset), [4, 6, 0]);
  assert.deepEqual(laid("end").map(endOf), [8, 8, 8]);
  assert.deepEqual(laid("fraction").map(({ offset, rate }) => [offset, rate]), [[0, 0.5], [0, 0.25], [0, 1]]);
  assert.deepEqual(laid("fraction").map(endOf), [8, 8, 8]);
});

test("by an event all have it at one time, and one without it ends then", () => {
  assert.deepEqual(laid("event").map(({ offset }) => offset), [4, 3, 0]);
  assert.deepEqual(laid("event").map(({ offset, event, duration }) => offset + (event ?? duration)), [5, 5, 5]);
});

test("of those that have begun the one that is over last leads", () => {
  const placed = [{ duration: 4, offset: 0, rate: 1 }, { duration: 6, offset: 3, rate: 1 }];
  assert.deepEqual([0, 2.9, 3, 5, 9].map((position) => placed.indexOf(leaderAt(placed, position))), [0, 0, 1, 1, 1]);
});

test("none and one are laid out, too", () => {
  assert.deepEqual([placesOf([], "end"), placesOf([{ duration: 0 }], "fraction")], [[], [{ offset: 0, rate: 1 }]]);
});

test("pictures are as large as the window lets them be, and on a phone one scrolls", () => {
  const columns = (width, height, aspect) => [2, 3, 4, 5, 6, 7, 8, 9].map((count) => tiling(count, width, height, aspect).columns);
  assert.deepEqual(columns(1300, 650, 1), [2, 3, 4, 5, 3, 4, 4, 5]);
  assert.deepEqual(columns(390, 600, 1.5), [2, 2, 2, 2, 2, 2, 2, 2]);
  assert.deepEqual(tiling(2, 390, 600, 3).columns, 1);
  for (let count = 2; count < 10; count += 1) {
    const { columns, height } = tiling(count, 1300, 650, 1.5);
    assert.ok(Math.ceil(count / columns) * (height + 84) <= 650, `${count} clips fit the window`);
  }
});

test("small pictures are shown by the pixel, and none of which nobody knows how large it is", () => {
  assert.deepEqual([1, 240, 241, null].map(byPixel), [true, true, false, false]);
});
